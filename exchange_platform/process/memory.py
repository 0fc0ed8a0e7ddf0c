"""Keeping a process small: giving freed memory back, and imports that it can do without. Not here: what uses
it.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

_DATA_FRAMES = ("pandas", "pyarrow", "numpy")


def give_back() -> None:
    """Return what the C library's allocator holds but nobody uses; some milliseconds. Nothing happens where
    there is no glibc.

    A consumer allocates and frees megabytes a batch in several threads; glibc keeps what was freed between
    what is still in use. Source: malloc_trim(3).
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@contextmanager
def keeping_out(*names: str) -> Iterator[None]:
    """Let nothing import these modules meanwhile: it finds them not installed. What is imported already
    stays.
    """
    kept_out = [name for name in names if name not in sys.modules]
    blocked: dict[str, Any] = dict.fromkeys(kept_out)
    sys.modules.update(blocked)  # None: the import of that name fails, as the import system documents it
    try:
        yield
    finally:
        for name in kept_out:
            if sys.modules.get(name, name) is None:
                del sys.modules[name]


def without_data_frames() -> AbstractContextManager[None]:
    """Let this process import no data frame library meanwhile; what is imported already stays.

    DuckDB imports pandas, and with it pyarrow and numpy, at the first parameter or batch that it is given,
    only to ask whether that is one of theirs: 110 MB. It does without where they are not installed, which is
    what it finds here. For a process that only consumes.
    """
    return keeping_out(*_DATA_FRAMES)


@functools.cache
def _trim() -> Any:
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None
