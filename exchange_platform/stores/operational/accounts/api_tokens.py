"""Applications' tokens, as stored: made, listed, revoked, read by the API. What they grant is
api_tokens.py's; who may use them now, http/known_tokens.py's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from exchange_platform.domain.actors import Actor, check_name
from exchange_platform.domain.api_tokens import (
    MAX_ACCOUNTS,
    MAX_LIFE_S,
    MIN_LIFE_S,
    SETTINGS_NAME,
    Grant,
    InvalidToken,
    Scope,
    draw_token_id,
    read_scopes,
    write_scopes,
)
from exchange_platform.process.decoders import json_decoder
from exchange_platform.stores.operational.accounts.security_events import (
    SecurityEvent,
    SecurityKind,
    write_events,
)
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.tables.accounts import accounts
from exchange_platform.stores.operational.tables.security import api_tokens
from exchange_platform.stores.operational.upsert import chunks

MAX_LIVE = 1000
"""Tokens that may be good at once: every process of the API holds them all."""
_texts = json_decoder(list[str])
_SECOND_US = 1_000_000


class NoSuchToken(LookupError):
    """No such token is live."""


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token that is to be made."""

    application: str
    sha256: bytes
    scopes: frozenset[Scope]
    all_accounts: bool = False
    account_ids: frozenset[str] = frozenset()
    lasts_s: int


class StoredToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it is kept."""

    token_id: str
    application: str
    sha256: bytes
    scopes: frozenset[Scope]
    all_accounts: bool
    account_ids: frozenset[str]
    made_at_us: int
    expires_at_us: int
    revoked_at_us: int | None
    last_used_at_us: int | None

    def state(self, now_us: int) -> str:
        """Whether it is good: live, expired or revoked."""
        if self.revoked_at_us is not None:
            return "revoked"
        return "live" if now_us < self.expires_at_us else "expired"

    def grant(self) -> Grant:
        """What it lets its bearer do while it is live."""
        return Grant(
            application=self.application,
            token_id=self.token_id,
            scopes=self.scopes,
            all_accounts=self.all_accounts,
            account_ids=self.account_ids,
            expires_at_us=self.expires_at_us,
        )


class ApiTokens:
    """The tokens. Each call is a transaction of its own; making and revoking stand in the log of security
    events. Raises `StoreUnavailable`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def make(self, wanted: NewToken, actor: Actor, now_us: int) -> StoredToken:
        """Keep a new token. Raises `InvalidActor` and `InvalidToken`, and then nothing was kept."""
        _check(wanted)
        stored = StoredToken(
            token_id=draw_token_id(),
            application=wanted.application,
            sha256=wanted.sha256,
            scopes=wanted.scopes,
            all_accounts=wanted.all_accounts,
            account_ids=wanted.account_ids,
            made_at_us=now_us,
            expires_at_us=now_us + wanted.lasts_s * _SECOND_US,
            revoked_at_us=None,
            last_used_at_us=None,
        )
        try:
            with self._database.write() as connection:
                _check_against(connection, wanted, now_us)
                connection.execute(sa.insert(api_tokens).values(**_row(stored)))
                reach = (
                    "all accounts" if stored.all_accounts else f"own and {len(stored.account_ids)} accounts"
                )
                detail = f"by {actor.application}: {write_scopes(stored.scopes)}; {reach}"
                write_events(connection, [_event(stored, SecurityKind.MADE, detail, now_us)])
        except IntegrityError as error:
            raise InvalidToken(
                "this token is kept already, live or not: each application needs one of its own"
            ) from error
        return stored

    def revoke(
        self, application: str, token_ids: Iterable[str], actor: Actor, now_us: int
    ) -> list[StoredToken]:
        """Let no one use these tokens of the application any more, or none of its tokens where no ids are
        given. Raises `NoSuchToken`.
        """
        wanted = frozenset(token_ids)
        with self._database.write() as connection:
            live = [
                token
                for token in _tokens(connection, api_tokens.c.application == application)
                if token.revoked_at_us is None and (not wanted or token.token_id in wanted)
            ]
            missing = wanted - {token.token_id for token in live}
            if missing or not live:
                which = f"token {', '.join(sorted(missing))} of" if missing else "token of"
                raise NoSuchToken(
                    f"no {which} {application!r} stands: `exchange-platform tokens list` shows those that do"
                )
            ids = [token.token_id for token in live]
            connection.execute(
                sa.update(api_tokens).where(api_tokens.c.token_id.in_(ids)).values(revoked_at_us=now_us)
            )
            detail = f"by {actor.application}"
            write_events(connection, [_event(token, SecurityKind.REVOKED, detail, now_us) for token in live])
        return live

    def list(self) -> list[StoredToken]:
        """Every token that is kept, by application, the newest first."""
        with self._database.read() as connection:
            return _tokens(connection, sa.true())

    def note_used(self, used_at_us: dict[str, int]) -> None:
        """Note when tokens were used last, by their ids."""
        with self._database.write() as connection:
            for token_id, at_us in sorted(used_at_us.items()):
                connection.execute(
                    sa.update(api_tokens)
                    .where(api_tokens.c.token_id == token_id)
                    .values(last_used_at_us=at_us)
                )


def _tokens(connection: sa.Connection, which: sa.ColumnElement[bool]) -> list[StoredToken]:
    rows = connection.execute(
        sa.select(api_tokens)
        .where(which)
        .order_by(api_tokens.c.application, api_tokens.c.made_at_us.desc(), api_tokens.c.token_id)
    )
    return [
        StoredToken(
            **{
                **row._mapping,
                "scopes": read_scopes(row.scopes),
                "account_ids": frozenset(_texts.decode(row.account_ids)),
            }
        )
        for row in rows
    ]


def _row(stored: StoredToken) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(stored),
        "scopes": write_scopes(stored.scopes),
        "account_ids": msgspec.json.encode(sorted(stored.account_ids)).decode(),
    }


def _event(token: StoredToken, kind: SecurityKind, detail: str, now_us: int) -> SecurityEvent:
    return SecurityEvent(
        at_us=now_us, kind=kind, application=token.application, token_id=token.token_id, detail=detail
    )


def _check(wanted: NewToken) -> None:
    if check_name(wanted.application) == SETTINGS_NAME:
        raise InvalidToken(
            f"{SETTINGS_NAME} is the name of the tokens in API_TOKENS: give the application another"
        )
    if not wanted.scopes:
        raise InvalidToken(f"a token needs a scope: {', '.join(Scope)} are allowed")
    if not MIN_LIFE_S <= wanted.lasts_s <= MAX_LIFE_S:
        raise InvalidToken(
            f"a token can't last {wanted.lasts_s} s; allowed is an hour to {MAX_LIFE_S // 86_400} days"
        )
    if wanted.all_accounts and wanted.account_ids:
        raise InvalidToken("all accounts and some of them are named: name the accounts, or all")
    if len(wanted.account_ids) > MAX_ACCOUNTS:
        raise InvalidToken(
            f"{len(wanted.account_ids)} accounts are named; up to {MAX_ACCOUNTS} are allowed, or all, besides those that the application registers"
        )


def _check_against(connection: sa.Connection, wanted: NewToken, now_us: int) -> None:
    """Refuse accounts that do not exist, and more tokens than processes of the API may hold."""
    there: set[str] = set()
    for some in chunks(sorted(wanted.account_ids)):
        there.update(
            connection.execute(
                sa.select(accounts.c.account_id).where(accounts.c.account_id.in_(some))
            ).scalars()
        )
    missing = sorted(wanted.account_ids - there)
    if missing:
        raise InvalidToken(f"there is no account {', '.join(repr(one[:80]) for one in missing[:5])}")
    live = connection.execute(
        sa.select(sa.func.count()).where(
            api_tokens.c.revoked_at_us.is_(None), api_tokens.c.expires_at_us > now_us
        )
    ).scalar_one()
    if live >= MAX_LIVE:
        raise InvalidToken(f"{live} tokens are live; up to {MAX_LIVE} are allowed: revoke some")
