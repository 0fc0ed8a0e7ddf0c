"""Looking at the lake's files in rounds: every file's size and footer each time, the content of the new ones
and of a share of the others.

Taking damaged files out is losses.py's. What a file held when it was first looked at is kept
(lake_losses.Sighting), so that any changed bit is found later, and what a lost file held is known by market.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

import duckdb

from exchange_platform.stores.lake.connection import LakeConnection
from exchange_platform.stores.lake.files import (
    DamagedFile,
    FileUnreadable,
    LakeFile,
    by_market,
    digest,
    inner_damage,
    is_comparable,
    outer_damage,
)
from exchange_platform.stores.lake.losses import Sighting, keep_sightings, sightings

T = TypeVar("T")

CONTENT_BYTES = 64_000_000
"""So much content one round reads; a whole file at least."""
OUTER_FILES = 5_000
"""Of so many files one round looks at size and footer: the newest, and those that wait longest."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What one look at the files found."""

    files: int
    read: int
    """Files whose whole content was read."""
    damaged: tuple[DamagedFile, ...]
    unreadable: tuple[str, ...]
    """What the storage said of files that could not be read; they are not known to be damaged."""


def inspect(
    lake: LakeConnection,
    now_us: int,
    *,
    content_bytes: int | None = CONTENT_BYTES,
    outer_files: int | None = OUTER_FILES,
) -> Inspection:
    """Look at the files of the newest snapshot, at the content of so many bytes of them (None: of all).
    Raises `StoreUnavailable`.

    On a lake that may be written, what was found whole is remembered.
    """
    with lake.translated():
        files = lake.files()
        known = sightings(lake)
    damaged: list[DamagedFile] = []
    unreadable: list[str] = []
    seen: dict[int, Sighting] = {}
    left = content_bytes
    with _Scratches(lake) as scratches:
        oldest_first = sorted(files, key=lambda file: (_seen_at(known, file), -file.file_id))
        for number, file in enumerate(oldest_first):
            try:
                if outer_files is None or number < outer_files:
                    reason = scratches.ask(lambda scratch, file=file: outer_damage(scratch, file))  # type: ignore[misc]
                    if reason is not None:
                        damaged.append(DamagedFile(file, reason))
                        continue
                if left is None or left > 0:
                    left = None if left is None else left - file.size
                    found = scratches.ask(lambda scratch, file=file: _read(scratch, file, known, now_us))  # type: ignore[misc]
                    if isinstance(found, DamagedFile):
                        damaged.append(found)
                    else:
                        seen[file.file_id] = found
            except FileUnreadable as error:
                unreadable.append(str(error))
    live = {file.file_id for file in files}
    if not lake.read_only and (seen or known.keys() - live):
        keep_sightings(lake, seen, live)
    return Inspection(len(files), len(seen), _still_used(lake, damaged), tuple(unreadable))


def _still_used(lake: LakeConnection, damaged: list[DamagedFile]) -> tuple[DamagedFile, ...]:
    """Those that are in use still: maintenance deletes files of older snapshots while they are looked at."""
    if not damaged:
        return ()
    with lake.translated():
        now = {file.file_id for file in lake.files()}
    return tuple(one for one in damaged if one.file.file_id in now)


def _seen_at(known: dict[int, Sighting], file: LakeFile) -> int:
    sighting = known.get(file.file_id)
    return sighting.seen_at_us if sighting is not None else 0


def _read(
    scratch: duckdb.DuckDBPyConnection, file: LakeFile, known: dict[int, Sighting], now_us: int
) -> DamagedFile | Sighting:
    """Read the whole file: its bytes must be those of its first sighting; at that, its rows must be readable
    and as many as were written.
    """
    now = digest(scratch, file.path)
    before = known.get(file.file_id)
    if before is not None and is_comparable(before.digest):
        if now != before.digest:
            return DamagedFile(file, "its content is no longer what was written")
        return Sighting(before.digest, before.markets, now_us)
    reason = inner_damage(scratch, file.path, file.rows)
    if reason is not None:
        return DamagedFile(file, reason)
    return Sighting(now, by_market(scratch, file), now_us)


class _Scratches:
    """A DuckDB to read single files with, replaced after a file that it could not read: that may have spoilt
    it.
    """

    def __init__(self, lake: LakeConnection) -> None:
        self._lake = lake
        self._open = ExitStack()
        self._scratch: duckdb.DuckDBPyConnection | None = None

    def __enter__(self) -> _Scratches:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def ask(self, question: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """The question's answer, by a DuckDB that has not failed yet."""
        if self._scratch is None:
            self._scratch = self._open.enter_context(self._lake.scratch())
        answer = question(self._scratch)
        if isinstance(answer, str | DamagedFile):
            self._open.close()
            self._scratch = None
        return answer
