"""The embedded index's directory: generations, the pointer to the one in use, and who may write. Not here:
what is in one (tantivy.py).

A generation is a whole index in a folder of its own. A rebuild makes another and moves the pointer, a file
that is replaced in one step. The locks lie beside the directory, so that deleting it frees none; they are the
kernel's, so a killed process leaves none.
"""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import msgspec
from filelock import FileLock, Timeout

from exchange_platform.process.decoders import json_decoder
from exchange_platform.stores.checkpoints import StoreUnavailable

FORMAT = 2
"""Grows when documents are indexed differently: an index of another format is rebuilt."""
TURN_TIMEOUT_S = 30.0

_POINTER = "current.json"
_META = "meta.json"
_FOOTER = struct.Struct("<II")
"""At the end of tantivy's files: the length of a JSON text with the CRC-32 of what comes before that text,
and a number that says so.
"""
_FOOTER_SIGN = 1337
_SEGMENT_FILES = {".store", ".fieldnorm", ".idx", ".term", ".pos", ".fast"}
Stamp = tuple[int, ...]


class _Checksum(msgspec.Struct):
    crc: int


class _Segment(msgspec.Struct):
    segment_id: str


class _Meta(msgspec.Struct):
    segments: list[_Segment]


class Generation(msgspec.Struct, frozen=True):
    """The pointer's content."""

    name: str
    filled: bool
    format: int = FORMAT


_generation, _meta, _checksum = json_decoder(Generation), json_decoder(_Meta), json_decoder(_Checksum)


class IndexDirectory:
    """The folders of one embedded index."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def current(self) -> Generation | None:
        """The generation in use; None where there is none that this code can read."""
        try:
            found = _generation.decode((self.root / _POINTER).read_bytes())
        except (OSError, msgspec.DecodeError):
            return None
        if found.format != FORMAT or not (self.path(found) / _META).exists():
            return None
        return found

    def damage(self, generation: Generation) -> str | None:
        """What is wrong with the files of a generation: each segment's must be there, with the bytes that
        were written. None: nothing.

        Reads the whole index; files that go out of use meanwhile are no damage.
        """
        before = self.stamp(generation)
        wrong = _damage(self.path(generation))
        return wrong if wrong is not None and self.stamp(generation) == before else None

    def damage_now(self) -> str | None:
        """What is wrong with the pointer, or with the generation that it names; None if nothing is, or there
        is no index.
        """
        if not self.root.exists():
            return None
        if not self.root.is_dir():
            return "a file has the directory's name"
        try:
            found = _generation.decode((self.root / _POINTER).read_bytes())
        except FileNotFoundError:
            return f"{_POINTER} is gone" if any(self.root.glob("generation-*")) else None
        except (OSError, msgspec.DecodeError) as error:
            return f"{_POINTER} can't be read: {error}"
        return self.damage(found) if found.format == FORMAT else None

    def path(self, generation: Generation) -> Path:
        """Where a generation lies."""
        return self.root / generation.name

    def stamp(self, generation: Generation) -> Stamp | None:
        """Differs whenever the pointer was moved or something was committed in the generation; None if either
        is gone.
        """
        try:
            pointer, meta = (
                (self.root / _POINTER).stat(),
                (self.path(generation) / _META).stat(),
            )
        except OSError:
            return None
        return (pointer.st_ino, pointer.st_mtime_ns, meta.st_ino, meta.st_mtime_ns)

    def new_folder(self) -> Path:
        """A folder for another generation, not in use yet."""
        folder = self.root / f"generation-{uuid4().hex[:12]}"
        folder.mkdir(parents=True)
        return folder

    def point_at(self, folder: Path, *, filled: bool) -> Generation:
        """Take the generation in that folder into use, in one step."""
        generation = Generation(folder.name, filled)
        temporary = self.root / f"{_POINTER}.{uuid4().hex[:12]}"
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(generation))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.root / _POINTER)
        return generation

    def leave(self) -> None:
        """Use no generation until another is pointed at. Who reads the last one goes on."""
        (self.root / _POINTER).unlink(missing_ok=True)

    def tidy(self, *keep: str) -> None:
        """Delete every generation but these. Whoever has one open goes on reading it."""
        for found in self.root.iterdir() if self.root.exists() else ():
            if found.name not in keep and found.name != _POINTER:
                if found.is_dir():
                    shutil.rmtree(found, ignore_errors=True)
                else:
                    found.unlink(missing_ok=True)

    def writer_lock(self) -> FileLock:
        """Held by the one process that puts, for as long as it does. Raises `StoreUnavailable` at once where
        another holds it.
        """
        lock = self._lock("writer")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise StoreUnavailable(
                f"event index {self.root}: another process writes it; it can be written when that one closes it or ends"
            ) from None
        return lock

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Held for each put, and by a rebuild while it moves the pointer: so none is put into a generation
        that has gone out of use.
        """
        lock = self._lock("turn")
        try:
            lock.acquire(timeout=TURN_TIMEOUT_S)
        except Timeout:
            raise StoreUnavailable(
                f"event index {self.root}: another process has been at it for {TURN_TIMEOUT_S:.0f} s"
            ) from None
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def rebuilding(self) -> Iterator[None]:
        """Held by a rebuild. Raises `StoreUnavailable` at once where another is under way."""
        lock = self._lock("rebuild")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise StoreUnavailable(f"event index {self.root}: a rebuild is under way") from None
        try:
            yield
        finally:
            lock.release()

    def _lock(self, name: str) -> FileLock:
        self.root.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(
            self.root.with_name(f"{self.root.name}.{name}.lock"), thread_local=False, poll_interval=0.01
        )


def _damage(folder: Path) -> str | None:
    try:
        meta = _meta.decode((folder / _META).read_bytes())
    except msgspec.DecodeError as error:
        return f"{_META} can't be read: {error}"
    except OSError as error:
        return f"{_META}: {(error.strerror or str(error)).lower()}"
    for segment in meta.segments:
        files = sorted(folder.glob(f"{segment.segment_id.replace('-', '')}.*"))
        if len({file.suffix for file in files} & _SEGMENT_FILES) < len(_SEGMENT_FILES):
            return f"files of segment {segment.segment_id} are gone"
        for file in files:
            try:
                if not _is_as_written(file.read_bytes()):
                    return f"{file.name} is not what was written"
            except OSError as error:
                return f"{file.name}: {(error.strerror or str(error)).lower()}"
    return None


def _is_as_written(content: bytes) -> bool:
    if len(content) < _FOOTER.size:
        return False
    length, sign = _FOOTER.unpack(content[-_FOOTER.size :])
    end = len(content) - _FOOTER.size - length
    if sign != _FOOTER_SIGN or end < 0:
        return False
    try:
        said = _checksum.decode(content[end : -_FOOTER.size])
    except msgspec.DecodeError:
        return False
    return zlib.crc32(content[:end]) == said.crc
