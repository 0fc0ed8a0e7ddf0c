"""Which calls are let in: applications show a bearer token, whose scopes and accounts say what they may do.
Pages need none.

A route says its scope by the type of its parameter `caller`, and asks the caller before it touches an
account: one that the token may not act for is answered as one that does not exist. Not here: which tokens are
known (known_tokens.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from starlette.datastructures import Headers
from starlette.types import Scope as AsgiScope

from exchange_platform.api.access.clients import client_address
from exchange_platform.api.http.bulkheads import Work
from exchange_platform.api.http.known_tokens import MAX_AGE_S, Found
from exchange_platform.api.http.problems import Problem
from exchange_platform.api.services import AppState, Services
from exchange_platform.domain.actors import Actor
from exchange_platform.domain.api_tokens import Grant, Scope, can_be_token, write_scopes
from exchange_platform.domain.refusals import RefusalCode, Unknown
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.accounts.security_events import SecurityKind

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="application",
    description="The token of an application that calls the API. Each call names the scope that the token needs: "
    + ", ".join(Scope)
    + ".",
)
_SHOWN = "exchange_platform.shown"
_NOTHING = Found(None)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request shows of who calls: a token and whose it is, or why that can't be said."""

    client: str
    found: Found = _NOTHING
    failure: Exception | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """An application that was let in."""

    grant: Grant
    actor: Actor
    services: Services

    def may_act_for(self, account_id: str) -> bool:
        """Whether the token may act for the account. May ask the database: call it in a thread. Raises
        `StoreUnavailable`.
        """
        grant = self.grant
        if (
            grant.all_accounts
            or account_id in grant.account_ids
            or self.services.registrations.are_of(grant.application, account_id)
        ):
            return True
        self.services.security_log.refused(
            SecurityKind.ACCOUNT_OUT_OF_REACH,
            "",
            client=self.actor.client,
            application=grant.application,
            token_id=grant.token_id,
        )
        return False

    def check_account(self, account_id: str) -> None:
        """Refuse an account that the token may not act for as one that does not exist. Raises `Unknown`."""
        if not self.may_act_for(account_id):
            raise Unknown(RefusalCode.UNKNOWN_ACCOUNT, "account_id", account_id, "there is no such account")

    async def still_let_in(self) -> bool:
        """Whether the token is good yet, as the database said `MAX_AGE_S` ago or later. Raises
        `StoreUnavailable` and `Problem`.
        """
        await _refreshed(self.services, MAX_AGE_S)
        return self.services.known_tokens.still(self.grant)


async def shown_by(scope: AsgiScope, services: Services) -> Shown:
    """What the request shows of who calls. It is read once: what stands behind asks for what stood before
    found.
    """
    if _SHOWN not in scope:
        scope[_SHOWN] = await _read(scope, services)
    shown = scope[_SHOWN]
    assert isinstance(shown, Shown)
    return shown


async def _read(scope: AsgiScope, services: Services) -> Shown:
    headers = Headers(scope=scope)
    peer = scope.get("client")
    client = client_address(
        peer[0] if peer else None, headers.getlist("x-forwarded-for"), services.settings.trusted_proxies
    )
    lines = headers.getlist("authorization")
    if not lines:
        return Shown(client)
    kind, _, rest = lines[0].partition(" ")
    token = rest.strip(" ")
    if len(lines) > 1 or kind.lower() != "bearer" or not can_be_token(token):
        found = Found(None, "malformed")
    else:
        try:
            found = await _whose(token, services)
        except (StoreUnavailable, Problem) as error:
            return Shown(client, failure=error)
    if found.grant is not None:
        services.security_log.let_in(found.grant, client)
    else:
        services.security_log.refused(
            SecurityKind.AUTHENTICATION_FAILED,
            found.why,
            client=client,
            application=found.application,
            token_id=found.token_id,
        )
    return Shown(client, found)


async def _whose(token: str, services: Services) -> Found:
    await _refreshed(services, MAX_AGE_S)
    found = services.known_tokens.find(token)
    if found.grant is None and services.known_tokens.may_look_again():
        await _refreshed(services, 0.0)
        found = services.known_tokens.find(token)
    return found


async def _refreshed(services: Services, max_age_s: float) -> None:
    if services.known_tokens.is_older_than(max_age_s):
        await services.bulkheads.run(Work.TOKENS, lambda: services.known_tokens.refresh(max_age_s))


async def _let_in(
    request: Request,
    services: AppState,
    needed: SecurityScopes,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],  # noqa: ARG001  for the OpenAPI document
) -> Caller:
    shown = await shown_by(request.scope, services)
    if shown.failure is not None:
        raise shown.failure
    grant = shown.found.grant
    if grant is None:
        if services.known_tokens.are_none:
            raise Problem(
                503,
                "no_tokens",
                "the API has no tokens, so no application can call it: `exchange-platform tokens create` makes one",
            )
        raise Problem(
            401,
            "unauthorized",
            "this call needs an application's bearer token, one that is known, not expired and not revoked, in one Authorization header",
            headers={"WWW-Authenticate": "Bearer"},
        )
    missing = [scope for scope in needed.scopes if scope not in grant.scopes]
    if missing:
        raise _missing_scope(services, shown, grant, missing[0])
    return Caller(grant, Actor(grant.application, grant.token_id, shown.client), services)


def _missing_scope(services: Services, shown: Shown, grant: Grant, needed: str) -> Problem:
    services.security_log.refused(
        SecurityKind.SCOPE_MISSING,
        needed,
        client=shown.client,
        application=grant.application,
        token_id=grant.token_id,
    )
    has = write_scopes(grant.scopes).split()
    return Problem(
        403,
        "missing_scope",
        f"this call needs the scope {needed}; this token of {grant.application} has {', '.join(has)}",
        headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{needed}"'},
        needed=needed,
        scopes=has,
    )


Reading = Annotated[Caller, Security(_let_in, scopes=[Scope.READ.value])]
Betting = Annotated[Caller, Security(_let_in, scopes=[Scope.BET.value])]
Paying = Annotated[Caller, Security(_let_in, scopes=[Scope.MONEY.value])]
Operating = Annotated[Caller, Security(_let_in, scopes=[Scope.OPERATE.value])]
