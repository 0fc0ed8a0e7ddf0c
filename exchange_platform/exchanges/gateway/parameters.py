"""What a request asks for, read strictly. Answering it lives in app.py."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request

from exchange_platform.process.decoders import json_decoder
from exchange_platform.stores.operational.database import to_us

MAX_UPDATES = 1000
USUAL_UPDATES = 500
LONGEST_WAIT_S = 30.0
MAX_BODY_BYTES = 4_000_000
_MAX_CURSOR = 2**63 - 1


class BadParameter(ValueError):
    """A parameter is none, or has a value that is not allowed: the message says which, what it was, and what
    is allowed.
    """


@dataclass(frozen=True, slots=True)
class FeedRequest:
    """Updates just after the cursor `after`, up to `limit` of them; while there is none, wait up to
    `wait_s`.
    """

    after: int = 0
    limit: int = USUAL_UPDATES
    wait_s: float = 0.0


class BadBody(ValueError):
    """A request's body is not what is asked for: the message says where, what it was, and what is allowed."""


class Acknowledged(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Up to where every sink of the platform has committed: of each shard, by its name in the platform's
    checkpoints.
    """

    positions: Annotated[
        dict[
            Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[!-~]+$")],
            Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[0-9A-Z_:]+$")],
        ],
        msgspec.Meta(max_length=10_000),
    ]


_acknowledged = json_decoder(Acknowledged)


def acknowledged(body: bytes) -> Acknowledged:
    """Read the body of `POST /acknowledged`. Raises `BadBody`."""
    try:
        return _acknowledged.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadBody(
            f'{error}; allowed is {{"positions": {{shard: position}}}}, up to 10000 shards'
        ) from None


def feed_request(given: QueryParams) -> FeedRequest:
    """Read the parameters of `GET /feed`. Raises `BadParameter`."""
    once = given_once(given, ("after", "limit", "wait_s"))
    return FeedRequest(
        after=whole(once, "after", 0, least=0, most=_MAX_CURSOR),
        limit=whole(once, "limit", USUAL_UPDATES, least=1, most=MAX_UPDATES),
        wait_s=_seconds(once, "wait_s", most=LONGEST_WAIT_S),
    )


def given_once(given: QueryParams, allowed: Sequence[str]) -> dict[str, str]:
    """The parameters by their names. Raises `BadParameter` for an unknown one, and for one that is given
    twice.
    """
    for name in given:
        if name not in allowed:
            raise BadParameter(f"parameter {_shown(name)} is not known; allowed are {', '.join(allowed)}")
        if len(given.getlist(name)) > 1:
            raise BadParameter(f"parameter {name} is given {len(given.getlist(name))} times; once is allowed")
    return dict(given)


def minute_of(given: Mapping[str, str], name: str, default_us: int) -> int:
    """A whole minute as microseconds since 1970 UTC. Raises `BadParameter`."""
    text = given.get(name)
    if text is None:
        return default_us
    try:
        instant = datetime.fromisoformat(text) if len(text) <= 40 else None
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None or instant.second or instant.microsecond:
        raise BadParameter(
            f"{name} {_shown(text)} is not possible; allowed is a whole minute with its offset, as 2026-11-30T05:14:00Z"
        )
    if not 1970 < instant.year < 2100:
        raise BadParameter(f"{name} {_shown(text)} is not possible; allowed are the years 1971 to 2099")
    return to_us(instant)


async def body_of(request: Request) -> bytes:
    """The body, as far as it may be. Raises `BadBody`."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise BadBody(f"the body is longer than the {MAX_BODY_BYTES} bytes that are allowed")
    return bytes(body)


def whole(given: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    """A whole number within bounds. Raises `BadParameter`."""
    text = given.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= 20 and least <= int(text) <= most:
        return int(text)
    raise BadParameter(
        f"{name} {_shown(text)} is not possible; allowed is a whole number from {least} to {most}"
    )


def _seconds(given: Mapping[str, str], name: str, *, most: float) -> float:
    text = given.get(name, "0")
    try:
        seconds = float(text) if len(text) <= 30 else math.nan
    except ValueError:
        seconds = math.nan
    if 0 <= seconds <= most:
        return seconds
    raise BadParameter(f"{name} {_shown(text)} is not possible; allowed is a number from 0 to {most:g}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "...")
