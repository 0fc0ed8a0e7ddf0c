"""A refused user name or password is told from other trouble by what drivers say. Not here: servers that
refuse (test_passwords.py).
"""

from __future__ import annotations

import duckdb
import pymysql
import pytest

from exchange_platform.stores.checkpoints import CredentialsRefused, StoreUnavailable
from exchange_platform.stores.credentials import unavailable

LIBPQ = 'connection to server at "127.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (pymysql.err.OperationalError(1045, "Access denied for user 'a'@'b' (using password: YES)"), True),
        (pymysql.err.OperationalError(1044, "Access denied for user 'a'@'b' to database 'c'"), False),
        (pymysql.err.OperationalError(2003, "Can't connect to MySQL server on 'b'"), False),
        (duckdb.IOException(f'{LIBPQ}FATAL:  password authentication failed for user "a"'), True),
        (duckdb.IOException(f"{LIBPQ}fe_sendauth: no password supplied"), True),
        (duckdb.IOException(f"{LIBPQ}Connection refused"), False),
        (None, False),
    ],
)
def test_what_drivers_say(error: Exception | None, refused: bool) -> None:
    told = unavailable("a store: trouble", error)
    assert isinstance(told, StoreUnavailable)
    assert isinstance(told, CredentialsRefused) is refused
