"""The kinds of error that a store answers with, named by the reaction that they ask for. Waiting and burying
are engine/worker.py's.

Only errors of a closed list blame a record. Whatever is not on it (a missing permission, a changed table, a
defect) would be the same for every record, so no record is buried for it.
"""

from __future__ import annotations

import functools
import re
from enum import Enum, auto

import duckdb
import sqlalchemy as sa

from exchange_platform.domain.refusals import Refused
from exchange_platform.settings.aws import error_code
from exchange_platform.stores.checkpoints import StoreUnavailable, Superseded
from exchange_platform.stores.lake.connection import without_password


class Kind(Enum):
    """What an error asks for."""

    DATA = auto()
    """One of the records can't be written: find it and bury it."""
    TOO_LARGE = auto()
    """The batch does not fit: write it in smaller ones. No record is to blame."""
    STORE = auto()
    """The store is away: wait, and try the same again."""
    FINAL = auto()
    """This process can't go on: end it."""
    OTHER = auto()
    """A permission, a schema, a defect: say so, wait longer, try again, and fail in the end."""


# Functions, as DuckDB itself is loaded late: an API that asks no lake does without it (packed_duckdb.py).
@functools.cache
def _data() -> tuple[type[BaseException], ...]:
    return (
        sa.exc.IntegrityError,
        sa.exc.DataError,
        duckdb.DataError,  # conversion, out of range, type mismatch
        duckdb.IntegrityError,  # a constraint
        Refused,
        ValueError,  # a value that Python itself, or an index of ours, refuses: DocumentsRefused, UnicodeError
        ArithmeticError,  # a number that does not fit
    )


@functools.cache
def _schema() -> tuple[type[BaseException], ...]:
    return (duckdb.BinderException, duckdb.CatalogException, sa.exc.ProgrammingError)


_DATA_CODES = frozenset({"ValidationException", "ValidationError", "ItemCollectionSizeLimitExceeded"})
"""DynamoDB's names for an item that it will never take."""
_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    }
)
_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")


def kind_of(error: BaseException) -> Kind:
    """What the error asks for."""
    if isinstance(error, Superseded | MemoryError):
        return Kind.FINAL
    if isinstance(error, StoreUnavailable):
        return Kind.STORE
    if isinstance(error, duckdb.OutOfMemoryException):
        return Kind.TOO_LARGE
    if isinstance(error, _data()) or error_code(error) in _DATA_CODES:
        return Kind.DATA
    if isinstance(error, sa.exc.StatementError) and not isinstance(error, sa.exc.DBAPIError):
        # What Python raised while it made the statement's parameters.
        return kind_of(error.orig) if error.orig is not None else Kind.OTHER
    return Kind.OTHER


def described(error: BaseException) -> str:
    """The error in one line, with its type: fit for a status and a dead letter's reason."""
    return without_password(f"{type(error).__name__}: {' '.join(str(error).split())}"[:2000])


def remedy(error: BaseException) -> str:
    """What to do about an error of the kind `OTHER`, in a sentence."""
    if error_code(error) in _DENIED:
        return "Give this process's role or credentials that permission; it goes on by itself then."
    if isinstance(error, _schema()):
        return (
            "A table is not what this release writes: run `exchange-platform migrate`, or undo the table's"
            " change; it goes on by itself then."
        )
    return (
        "This looks like a defect or a wrong setting: the run's log has the error, `exchange-platform doctor`"
        " checks the stores."
    )


def same_reason(reason: str) -> str:
    """The reason without the values in it, which differ from record to record: equal for one and the same
    cause.
    """
    return _VARYING.sub("#", reason)[:200]
