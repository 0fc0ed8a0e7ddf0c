"""What the library refuses, as problems: which status each kind of refusal has. Not here: the refusals
(exchange_platform/domain/refusals.py).
"""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from exchange_platform.api.http.problems import Problem, answer
from exchange_platform.domain.refusals import (
    Conflict,
    Forbidden,
    InsufficientFunds,
    Invalid,
    NotNow,
    Refused,
    Unknown,
)

STATUSES: dict[type[Refused], int] = {
    Invalid: 422,
    Unknown: 404,
    Forbidden: 403,
    NotNow: 409,
    InsufficientFunds: 402,
    Conflict: 422,
}
"""An id that was used for something else is 422, as the draft of the Idempotency-Key header asks for."""


def install(app: FastAPI) -> None:
    """Let the application answer whatever the library refuses."""
    app.add_exception_handler(Refused, _refused)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return answer(
        Problem(
            STATUSES.get(type(error), 409),
            error.code.value,
            str(error),
            field=error.field,
            value=error.value,
            allowed=error.allowed,
        )
    )
