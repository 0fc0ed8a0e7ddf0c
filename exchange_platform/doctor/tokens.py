"""What is to be said of applications' tokens: those that may do everything, those that end soon, and that
there are none. Not here: the tokens (accounts/api_tokens.py).
"""

from __future__ import annotations

from exchange_platform.process.clock import Clock
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.accounts.api_tokens import ApiTokens
from exchange_platform.stores.operational.database import Database, from_us

SOON_US = 14 * 86_400_000_000
_REPLACE = "`exchange-platform tokens create` makes one for each application, with the scopes and accounts that it needs; docs/operations.md says how to move over"


def token_notes(settings: Settings, clock: Clock) -> tuple[str, str]:
    """What was found, and what to do about it (empty: nothing). Raises `StoreUnavailable`."""
    database = Database(settings.operational_database_url)
    try:
        stored = ApiTokens(database).list()
    finally:
        database.dispose()
    now_us = clock.now_us()
    live = [token for token in stored if token.state(now_us) == "live"]
    ending = [token for token in live if token.expires_at_us - now_us < SOON_US]
    found = [f"{len(live)} live of {len({token.application for token in live})} applications"]
    remedies = []
    old = len(settings.tokens_of_setting)
    if old:
        found.append(f"{old} in API_TOKENS may do everything for all accounts")
        remedies.append(_REPLACE)
    if ending:
        told = ", ".join(
            f"{token.token_id} of {token.application} ends {from_us(token.expires_at_us):%Y-%m-%d %H:%M} UTC"
            for token in ending[:5]
        )
        found.append(told if len(ending) <= 5 else f"{told}, and {len(ending) - 5} more")
        remedies.append("make another of the same application before, move it over, and revoke the old one")
    return "; ".join(found), "; ".join(remedies)
