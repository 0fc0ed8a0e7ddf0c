"""Giving freed memory back to the system. Not here: what uses it."""

from __future__ import annotations

import ctypes
import functools
from typing import Any


def give_back() -> None:
    """Return what the C library's allocator holds but nobody uses; some milliseconds. Nothing happens where there is no glibc.

    A consumer allocates and frees megabytes a batch in several threads; glibc keeps what was freed between what is still in use.
    Source: malloc_trim(3).
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim() -> Any:
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None
