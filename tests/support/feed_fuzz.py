"""Messages of the feed, damaged in seeded ways: what a reader must bury, among good ones that it must
apply.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from exchange_platform.domain.events import FeedUpdate, encode_update
from tests.support.feed_updates import any_updates

_STRANGE: list[Any] = [
    None, True, -1, 0, 2**63, 1.5, 1e400, "", "x" * 5000, "\x00", "NaN", [], {}, [[]], {"kind": "event"}, "1.1 ", "é",
    "2026-02-30T00:00:00Z", "2026-11-24T10:00:00", "1999-01-01T00:00:00Z",
]  # fmt: skip


def _field_strange(draw: random.Random, values: dict[str, Any]) -> bytes:
    values[draw.choice(list(values))] = draw.choice(_STRANGE)
    return _dumped(values)


def _field_missing(draw: random.Random, values: dict[str, Any]) -> bytes:
    del values[draw.choice(list(values))]
    return _dumped(values)


def _field_unknown(draw: random.Random, values: dict[str, Any]) -> bytes:
    values[f"field_{draw.randrange(100)}"] = draw.choice(_STRANGE)
    return _dumped(values)


def _cut(draw: random.Random, values: dict[str, Any]) -> bytes:
    data = _dumped(values)
    return data[: draw.randrange(len(data))]


def _bytes_changed(draw: random.Random, values: dict[str, Any]) -> bytes:
    data = bytearray(_dumped(values))
    for _ in range(draw.randrange(1, 6)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(data)


def _noise(draw: random.Random, values: dict[str, Any]) -> bytes:
    return draw.randbytes(draw.randrange(200))


def _other_json(draw: random.Random, values: dict[str, Any]) -> bytes:
    return draw.choice(
        [b"null", b"[]", b"42", b'"text"', b"{}", b"[" * 3000, b"[" * 200 + b"]" * 200, b" " * 99]
    )


def _doubled(draw: random.Random, values: dict[str, Any]) -> bytes:
    return _dumped(values) + draw.choice([b"", b",", b"\n"]) + _dumped(values)


_DAMAGES: list[Callable[[random.Random, dict[str, Any]], bytes]] = [
    _field_strange, _field_strange, _field_missing, _field_unknown, _cut, _bytes_changed, _noise, _other_json, _doubled,
]  # fmt: skip


def _dumped(values: dict[str, Any]) -> bytes:
    return json.dumps(values, ensure_ascii=False).encode(errors="surrogatepass")


def fuzzed_messages(count: int, *, seed: int) -> list[tuple[bytes, FeedUpdate | None]]:
    """So many messages, two of three damaged; with a good one comes the update that it is. A damaged one may
    be good by chance.
    """
    draw = random.Random(seed)
    messages: list[tuple[bytes, FeedUpdate | None]] = []
    for update in any_updates(count, seed=seed, events=40):
        if draw.random() < 1 / 3:
            messages.append((encode_update(update), update))
        else:
            damaged = draw.choice(_DAMAGES)(draw, json.loads(encode_update(update)))
            messages.append((damaged, None))
    return messages
