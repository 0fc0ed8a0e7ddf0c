"""What errors of the operational database's drivers ask for. Not here: connecting (database.py), whose fault
an error is (stores/failures.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from exchange_platform.stores.checkpoints import Contended, StoreDamaged, StoreUnavailable, TablesMissing
from exchange_platform.stores.credentials import unavailable
from exchange_platform.stores.operational.sqlite_files import is_damage

_CONTENTION = (1205, 1213)  # MySQL: lock wait timeout, deadlock
_NO_TABLE = "no such table"
"""SQLite's words."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise, in place of a driver's error, the one that says what to do about it: a `StoreUnavailable`, of it
    `Contended`, `StoreDamaged` and others.
    """
    try:
        yield
    except DBAPIError as error:
        reaction = _reaction(error)
        if reaction is error:
            raise
        raise reaction from error


def _reaction(error: DBAPIError) -> Exception:
    """The error that says what to do about a driver's: the driver's own where it is the statement's fault."""
    if is_damage(error.orig):
        return StoreDamaged(
            f"operational database: its file is damaged: {error.orig}; `exchange-platform doctor` says what to do"
        )
    if isinstance(error, OperationalError | InterfaceError):
        if getattr(error.orig, "args", (None,))[0] in _CONTENTION:
            return Contended(f"operational database: {error.orig}")
        if _NO_TABLE in str(error.orig):
            return TablesMissing(
                f"operational database: {error.orig}: it has no tables yet, or not those of this version;"
                " `exchange-platform migrate` makes them"
            )
        return unavailable(f"operational database: {error.orig}", error.orig)
    if error.connection_invalidated:
        return StoreUnavailable(f"operational database: {error.orig}")
    return error
