"""Applications with tokens of their own, for tests."""

from __future__ import annotations

from collections.abc import Iterable

from exchange_platform.domain.actors import Actor
from exchange_platform.domain.api_tokens import Scope, digest_of, draw_token
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.stores.operational.accounts.api_tokens import ApiTokens, NewToken
from exchange_platform.stores.operational.database import Database

OPERATOR = Actor("a-test", in_process=True)


def make_token(
    database: Database,
    application: str,
    scopes: Iterable[Scope] = Scope,
    *,
    all_accounts: bool = False,
    accounts: Iterable[str] = (),
    lasts_s: int = 86_400,
    now_us: int | None = None,
) -> str:
    """A token of the application's, in clear."""
    token = draw_token()
    wanted = NewToken(
        application=application,
        sha256=digest_of(token),
        scopes=frozenset(scopes),
        all_accounts=all_accounts,
        account_ids=frozenset(accounts),
        lasts_s=lasts_s,
    )
    ApiTokens(database).make(wanted, OPERATOR, SYSTEM_CLOCK.now_us() if now_us is None else now_us)
    return token


def bearer(token: str) -> dict[str, str]:
    """The header that shows it."""
    return {"Authorization": f"Bearer {token}"}
