"""What `tokens` and `security-events` do and print. Keeping tokens and events is stores/'s."""

from __future__ import annotations

import getpass
import re
import sys
from typing import Any

from exchange_platform.cli import output
from exchange_platform.cli.letters import opened
from exchange_platform.domain.actors import Actor
from exchange_platform.domain.api_tokens import write_scopes
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.accounts.api_tokens import ApiTokens, NewToken, StoredToken
from exchange_platform.stores.operational.accounts.security_events import (
    SecurityEvent,
    WantedEvents,
    read_events,
)
from exchange_platform.stores.operational.database import from_us


def create_token(settings: Settings, wanted: NewToken, token: str | None, *, as_json: bool) -> int:
    """Keep a new token and print it, where it was drawn here. Raises `InvalidActor` and `InvalidToken`."""
    database = opened(settings)
    try:
        stored = ApiTokens(database).make(wanted, _operator(), SYSTEM_CLOCK.now_us())
    finally:
        database.dispose()
    if as_json:
        output.print_json({**_as_json(stored), **({"token": token} if token is not None else {})})
        return 0
    print(
        f"token {stored.token_id} of {stored.application}: {write_scopes(stored.scopes)}; {_reach(stored)};"
        f" until {from_us(stored.expires_at_us):%Y-%m-%d %H:%M} UTC",
        file=sys.stderr,
    )
    if token is not None:
        print("It is shown this once; only its hash is kept:", file=sys.stderr)
        print(token)
    return 0


def show_tokens(settings: Settings, *, as_json: bool) -> int:
    """Print every token that is kept."""
    database = opened(settings)
    try:
        tokens = ApiTokens(database).list()
    finally:
        database.dispose()
    if as_json:
        output.print_json({"tokens": [_as_json(token) for token in tokens]})
        return 0
    columns = ["application", "token", "state", "scopes", "accounts", "made", "expires", "last used"]
    output.print_rows_table(columns, map(_row, tokens), len(tokens))
    if settings.tokens_of_setting:
        print("API_TOKENS has tokens besides, which may do everything for all accounts")
    return 0


def revoke_tokens(settings: Settings, application: str, token_ids: list[str], *, as_json: bool) -> int:
    """Revoke tokens and print which. Raises `NoSuchToken`."""
    database = opened(settings)
    try:
        revoked = ApiTokens(database).revoke(application, token_ids, _operator(), SYSTEM_CLOCK.now_us())
    finally:
        database.dispose()
    if as_json:
        output.print_json({"revoked": [token.token_id for token in revoked]})
    else:
        for token in revoked:
            print(f"token {token.token_id} of {token.application} is revoked")
    return 0


def show_events(settings: Settings, wanted: WantedEvents, limit: int, *, as_json: bool) -> int:
    """Print the newest security events, newest first."""
    database = opened(settings)
    try:
        events = read_events(database, wanted, limit=limit)
    finally:
        database.dispose()
    if as_json:
        output.print_json({"security_events": [_event_as_json(event) for event in events]})
        return 0
    columns = ["at", "what", "application", "token", "account", "from", "times", "detail"]
    output.print_rows_table(columns, map(_event_row, events), len(events))
    return 0


def _operator() -> Actor:
    """Whoever runs the command, as this machine calls them."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):
        name = "unknown"
    return Actor(re.sub(r"[^A-Za-z0-9._-]", "-", name)[:64] or "unknown", in_process=True)


def _reach(token: StoredToken) -> str:
    if token.all_accounts:
        return "all accounts"
    named = len(token.account_ids)
    return "the accounts that it registers" + (f" and {named} more" if named else "")


def _row(token: StoredToken) -> tuple[Any, ...]:
    used = token.last_used_at_us
    return (
        token.application,
        token.token_id,
        token.state(SYSTEM_CLOCK.now_us()),
        write_scopes(token.scopes),
        _reach(token),
        from_us(token.made_at_us).replace(microsecond=0),
        from_us(token.expires_at_us).replace(microsecond=0),
        "not yet" if used is None else from_us(used).replace(microsecond=0),
    )


def _as_json(token: StoredToken) -> dict[str, Any]:
    return {
        "id": token.token_id,
        "application": token.application,
        "state": token.state(SYSTEM_CLOCK.now_us()),
        "scopes": write_scopes(token.scopes).split(),
        "all_accounts": token.all_accounts,
        "accounts": sorted(token.account_ids),
        **{
            name: None if at_us is None else from_us(at_us)
            for name, at_us in (
                ("made_at", token.made_at_us),
                ("expires_at", token.expires_at_us),
                ("revoked_at", token.revoked_at_us),
                ("last_used_at", token.last_used_at_us),
            )
        },
    }


def _event_row(event: SecurityEvent) -> tuple[Any, ...]:
    return (
        from_us(event.at_us).replace(microsecond=0),
        event.kind.value,
        event.application,
        event.token_id,
        event.account_id,
        event.client,
        event.occurrences,
        event.detail,
    )


def _event_as_json(event: SecurityEvent) -> dict[str, Any]:
    return {
        "id": event.event_id,
        "at": from_us(event.at_us),
        "kind": event.kind.value,
        "application": event.application,
        "token_id": event.token_id,
        "account_id": event.account_id,
        "client": event.client,
        "occurrences": event.occurrences,
        "detail": event.detail,
    }
