"""Session tokens for Betfair: a given one, or by name and password with a certificate or without. Not here:
what they are used for.

Nothing here is logged: name, password, key and token are secrets.
Source: Betfair developer documentation, "Non-Interactive (bot) login" and "Interactive login - API endpoint".
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from betfairlightweight import APIClient
from betfairlightweight.exceptions import BetfairError, LoginError
from pydantic import SecretStr
from requests.adapters import HTTPAdapter

from exchange_platform.exchanges.betfair.connection import ConnectionEnded
from exchange_platform.exchanges.betfair.live import NotAllowed
from exchange_platform.process.call_bounds import bounded_call, bounded_pools

_TRANSIENT = ("TEMPORARY", "TIMEOUT", "UNKNOWN", "INTERNAL", "SERVICE")
"""What is in the codes of refusals that pass by themselves."""


MAX_LOGIN_S = 30.0
MAX_LOGIN_BYTES = 64 * 1024
"""An answer is a token and a status: some hundred bytes."""


class _BoundedAdapter(HTTPAdapter):
    """Connections that keep to the bounds of a call."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        pools = self.poolmanager.pool_classes_by_scheme
        self.poolmanager.pool_classes_by_scheme = {
            scheme: bounded_pools(pool, plain=True) for scheme, pool in pools.items()
        }


class GivenToken:
    """A session token that somebody else obtained."""

    def __init__(self, token: SecretStr) -> None:
        self._token = token

    def token(self, *, fresh: bool) -> str:
        """The token. Raises `NotAllowed` when another is wanted."""
        if fresh:
            raise NotAllowed(
                "Betfair does not take the session token (any more): set another EXCHANGE_PLATFORM_BETFAIR_SESSION_TOKEN,"
                " or name and password, so that the platform logs in by itself"
            )
        return self._token.get_secret_value()


@dataclass(frozen=True, slots=True)
class BetfairAccount:
    """Who logs in, and where. With a certificate the certificate's login is used."""

    app_key: SecretStr
    username: SecretStr
    password: SecretStr
    certificate: Path | None
    certificate_key: Path | None
    identity_url: str | None = None
    """Another place to log in at than Betfair's international one; the paths `certlogin` and `login` are
    added.
    """


class AccountLogin:
    """Logs in when a token is first wanted, and when the last is no longer taken."""

    def __init__(self, account: BetfairAccount) -> None:
        self._account = account
        self._token: str | None = None

    def token(self, *, fresh: bool) -> str:
        """A session token. Raises `NotAllowed` where Betfair refuses the account, `ConnectionEnded` where it
        can't be asked.
        """
        if self._token is None or fresh:
            self._token = None
            self._token = self._log_in()
        return self._token

    def _log_in(self) -> str:
        account = self._account
        with (
            requests.Session() as session,
            bounded_call(until_s=time.monotonic() + MAX_LOGIN_S, max_bytes=MAX_LOGIN_BYTES),
        ):
            session.headers["Accept-Encoding"] = "identity"
            for scheme in ("https://", "http://"):
                session.mount(scheme, _BoundedAdapter())
            client = APIClient(
                account.username.get_secret_value(),
                account.password.get_secret_value(),
                app_key=account.app_key.get_secret_value(),
                cert_files=_files(account),
                lightweight=True,
                session=session,
            )
            if account.identity_url is not None:
                client.identity_uri = client.identity_cert_uri = account.identity_url.rstrip("/") + "/"
            try:
                if account.certificate is not None:
                    client.login()
                else:
                    client.login_interactive()
            except LoginError as error:
                if any(passing in str(error) for passing in _TRANSIENT):
                    raise ConnectionEnded(f"logging in: {error}") from None
                raise NotAllowed(f"Betfair refuses the login: {error}") from None
            except (BetfairError, OSError) as error:
                raise ConnectionEnded(f"logging in: {type(error).__name__}") from None
            token = client.session_token
        if not token:
            raise ConnectionEnded("logging in: no token in the answer")
        return str(token)


def _files(account: BetfairAccount) -> tuple[str, str] | str | None:
    if account.certificate is None:
        return None
    if account.certificate_key is None:
        return str(account.certificate)
    return str(account.certificate), str(account.certificate_key)
