"""Telling a refused user name or password from other trouble with a server. Not here: what follows of it
(checkpoints.CredentialsRefused).
"""

from __future__ import annotations

from exchange_platform.process.database_tls import with_remedy
from exchange_platform.stores.checkpoints import CredentialsRefused, StoreUnavailable

_MYSQL = (1045, 1698)
"""ER_ACCESS_DENIED_ERROR and ER_ACCESS_DENIED_NO_PASSWORD_ERROR."""
_POSTGRESQL = ("password authentication failed", "no password supplied")
"""libpq's drivers give no SQLSTATE for a connection that was not made, only the message."""


def unavailable(message: str, cause: BaseException | None) -> StoreUnavailable:
    """The error to raise for a driver's: `CredentialsRefused` where that is what it says."""
    kind = CredentialsRefused if refuses(cause) else StoreUnavailable
    return kind(with_remedy(message))


def refuses(error: BaseException | None) -> bool:
    """Whether that is what a driver's error says."""
    code = getattr(error, "args", None) or (None,)
    return code[0] in _MYSQL or any(sign in str(error) for sign in _POSTGRESQL)
