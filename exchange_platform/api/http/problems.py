"""What every error of the API looks like: problem details (RFC 9457). Not here: which errors there are (the
routes').
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from exchange_platform.stores.checkpoints import CredentialsRefused, StoreUnavailable
from exchange_platform.stores.operational.accounts.limits import TooMany

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_S = 2
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


class Problem(Exception):
    """Answer the request with this problem.

    `code` is stable and for programs; `detail` is for people and says what was wrong and what is allowed.
    `more` are members of their own.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        title: str = "",
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code
        self.title = title or code.replace("_", " ").capitalize()
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more


class ProblemDetails(BaseModel):
    """An error (RFC 9457). `code` says which, for programs; `detail` what was wrong and what is allowed, for
    people.
    """

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    errors: list[dict[str, Any]] | None = Field(None, description="Each field that was wrong, where and why.")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can answer with these statuses."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    return {status: {"model": ProblemDetails, "content": content} for status in statuses}


def install(app: FastAPI) -> None:
    """Let the application answer every error with problem details."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(StoreUnavailable, _unavailable)
    app.add_exception_handler(TooMany, _too_many)
    app.add_exception_handler(Exception, _unexpected)


def answer(problem: Problem) -> JSONResponse:
    """The response that reports a problem."""
    content = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        **problem.more,
    }
    return JSONResponse(content, problem.status, problem.headers, media_type=MEDIA_TYPE)


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return answer(error)


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        {"where": ".".join(str(part) for part in one["loc"]), "why": one["msg"]} for one in error.errors()
    ]
    return answer(Problem(422, "invalid_request", _summary(errors), errors=errors))


def _summary(errors: Sequence[Mapping[str, str]]) -> str:
    told = "; ".join(f"{one['where']}: {one['why']}" for one in errors[:3])
    return told if len(errors) <= 3 else f"{told}; and {len(errors) - 3} more"


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    headers = dict(error.headers or {})
    if error.status_code == 400:  # a body that is no UTF-8, or no form: as wrong as one that is no JSON
        return answer(Problem(422, "invalid_request", f"body: {error.detail}"))
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
    return answer(Problem(error.status_code, code, str(error.detail), headers=headers))


def _methods(request: Request) -> list[str]:
    """What the path can be asked with: the router itself names the first of its routes only."""
    return [
        method
        for method in _METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


async def _unavailable(request: Request, error: Exception) -> Response:
    log.warning("%s", error)
    if isinstance(error, CredentialsRefused):
        request.app.state.services.note_refusal()
    return answer(
        Problem(
            503,
            "unavailable",
            "a store is away for the moment; nothing was changed, try again",
            headers={"Retry-After": str(_RETRY_AFTER_S)},
        )
    )


async def _too_many(_request: Request, error: Exception) -> Response:
    assert isinstance(error, TooMany)
    wait = str(error.retry_after_s)
    return answer(
        Problem(
            429,
            "too_many_requests",
            f"too many of these; the next is allowed in {wait} s",
            headers={"Retry-After": wait},
        )
    )


async def _unexpected(_request: Request, error: Exception) -> Response:
    log.error("unexpected: %s", error, exc_info=error)
    return answer(Problem(500, "internal_error", "something went wrong here; it is logged"))
