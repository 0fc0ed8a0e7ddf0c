"""Decoders of typed JSON and MessagePack, each made once, at its module's import. Not here: the types.

msgspec (0.22) looks a type over at its first use and keeps what it found with the type, before it is
complete. Two threads that use a type for the first time at once crash the process: a read through a null
pointer, which no exception handler sees. Decoders from here are complete before anybody has them, and made
one at a time, since types contain each other. So nothing decodes with `msgspec.json.decode(..., type=...)` or
converts with `msgspec.convert`; a test holds it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar, overload

import msgspec

T = TypeVar("T")

_one_at_a_time = threading.Lock()


@overload
def json_decoder(kind: type[T], *, strict: bool = True) -> msgspec.json.Decoder[T]: ...
@overload
def json_decoder(kind: Any, *, strict: bool = True) -> msgspec.json.Decoder[Any]: ...
def json_decoder(kind: Any, *, strict: bool = True) -> msgspec.json.Decoder[Any]:
    """A decoder of JSON of that type. Not `strict`: numbers may come as strings and the like."""
    with _one_at_a_time:
        return msgspec.json.Decoder(kind, strict=strict)


@overload
def msgpack_decoder(kind: type[T]) -> msgspec.msgpack.Decoder[T]: ...
@overload
def msgpack_decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]: ...
def msgpack_decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    """A decoder of MessagePack of that type."""
    with _one_at_a_time:
        return msgspec.msgpack.Decoder(kind)


def converter(kind: type[T], *, strict: bool = True) -> Callable[[Any], T]:
    """What makes a value of that type of parsed JSON. Raises `msgspec.ValidationError` where it is none."""
    json_decoder(kind)  # only to have the type looked over

    def convert(value: Any) -> T:
        return msgspec.convert(value, kind, strict=strict)

    return convert
