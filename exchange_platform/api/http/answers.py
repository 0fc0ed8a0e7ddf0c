"""Answers that cost little when nothing has changed: entity tags and what a client holds already. Not here:
what they say.
"""

from __future__ import annotations

import hashlib

from fastapi import Request, Response
from pydantic import BaseModel

CHECK_EACH_TIME = "no-cache"
"""A client may keep the answer, and asks each time whether it is still the same."""


def tag_of(*parts: object) -> str:
    """An entity tag for what is said by these parts. Weak: two answers with it say the same."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()
    return f'W/"{digest[:24]}"'


def holds(request: Request, tag: str) -> bool:
    """Whether the client says that it holds the answer with this tag (RFC 9110, If-None-Match)."""
    given = request.headers.get("If-None-Match", "")
    wanted = tag.removeprefix("W/")
    return any(one.strip().removeprefix("W/") == wanted or one.strip() == "*" for one in given.split(","))


def unchanged(tag: str) -> Response:
    """304: what the client holds is still the answer."""
    return Response(status_code=304, headers={"ETag": tag, "Cache-Control": CHECK_EACH_TIME})


def tagged(request: Request, content: str, tag: str | None = None, *, media_type: str) -> Response:
    """The content with a tag, its own unless one is given; 304 if the client holds it."""
    tag = tag or tag_of(content)
    if holds(request, tag):
        return unchanged(tag)
    return Response(content, media_type=media_type, headers={"ETag": tag, "Cache-Control": CHECK_EACH_TIME})


def as_json(request: Request, content: BaseModel, tag: str | None = None) -> Response:
    """The model as JSON with a tag; 304 if the client holds it."""
    return tagged(request, content.model_dump_json(), tag, media_type="application/json")
