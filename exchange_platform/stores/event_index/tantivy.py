"""The embedded event index: tantivy, on disk. Not here: its folders and locks (directory.py), what matches
and ranks (search/).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import tantivy
from filelock import FileLock
from tantivy import Query

from exchange_platform.process.clock import Clock
from exchange_platform.process.decoders import msgpack_decoder
from exchange_platform.search.answering import answer
from exchange_platform.search.documents import EventDocument, EventHit, EventQuery
from exchange_platform.search.expressions import (
    CANDIDATES,
    Field,
    SearchPlan,
)
from exchange_platform.search.ranking import Candidate, Places
from exchange_platform.stores.checkpoints import StoreDamaged, StoreUnavailable
from exchange_platform.stores.event_index.directory import Generation, IndexDirectory, Stamp
from exchange_platform.stores.event_index.index import DocumentsRefused, EventDocuments, newest_of, refusal
from exchange_platform.stores.event_index.tantivy_forms import (
    _BASIC,
    DOCUMENT,
    ID,
    SCHEMA,
    VERSION,
    indexed,
    query_of,
)
from exchange_platform.stores.operational.upsert import chunks

T = TypeVar("T")
log = logging.getLogger(__name__)
_LOOK_EVERY_S = 60.0
"""How long an index that was found whole counts as whole."""
_WRITER_BYTES, _REBUILD_BYTES = 15_000_000, 50_000_000
_decode = msgpack_decoder(tuple[EventDocument, Places]).decode


class TantivyEventIndex:
    """An `EventIndex` in a directory. Readers follow what other processes write: they look at two files
    before each search.
    """

    def __init__(self, root: Path, *, writable: bool, clock: Clock) -> None:
        self._directory = IndexDirectory(root)
        self._writable = writable
        self._clock = clock
        self._reader: _Reader | None = None
        self._reading = threading.Lock()
        self._writer: _Writer | None = None
        self._writing = threading.Lock()
        self._lock: FileLock | None = None
        self._found_whole_s = float("-inf")

    def prepare(self) -> None:
        """See `EventIndex.prepare`."""

    def put(self, documents: Sequence[EventDocument]) -> int:
        """See `EventIndex.put`."""
        if not self._writable:
            raise ValueError("this event index was opened for reading: open it writable to put documents")
        newest = newest_of(documents)
        with self._writing:
            if self._lock is None:
                self._lock = self._directory.writer_lock()
            with self._directory.turn():
                written, refused = self._written(lambda writer: writer.put(newest))
        if refused:
            raise DocumentsRefused(refusal(refused))
        return written

    def search(self, query: EventQuery) -> tuple[EventHit, ...]:
        """See `EventIndex.search`."""
        reader = self._newest_reader()
        if reader is None:
            return ()
        return _translated(lambda: answer(query, self._clock.now_us(), reader.candidates))

    def versions(self, event_ids: Iterable[str] | None = None) -> dict[str, int]:
        """See `EventIndex.versions`."""
        reader = self._true_reader()
        return {} if reader is None else _translated(lambda: reader.versions(event_ids))

    def count(self) -> int:
        """See `EventIndex.count`."""
        reader = self._true_reader()
        return 0 if reader is None else reader.searcher.num_docs

    def is_filled(self) -> bool:
        """See `EventIndex.is_filled`."""
        current = self._directory.current()
        return current is not None and current.filled and not self._is_damaged(current)

    def rebuild(self, source: EventDocuments) -> int:
        """See `EventIndex.rebuild`."""
        with self._directory.rebuilding():
            with self._directory.turn():
                before = self._directory.current()
                self._directory.tidy(*([before.name] if before is not None else []))
                folder = self._directory.new_folder()
            building = _Writer(folder, _REBUILD_BYTES, new=True)
            try:
                held: dict[str, int] = {}
                for page in source.pages():
                    building.add(page)
                    held.update((document.event_id, document.version) for document in page)
                _translated(building.commit)
                _catch_up(building, held, source)
                with self._directory.turn():
                    _catch_up(building, held, source)
                    building.close()
                    self._directory.point_at(folder, filled=True)
            finally:
                building.close()
            return len(held)

    def close(self) -> None:
        """See `EventIndex.close`."""
        with self._writing:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            if self._lock is not None:
                self._lock.release()
                self._lock = None
        with self._reading:
            self._reader = None

    def _written(self, act: Callable[[_Writer], T]) -> T:
        """Write into the generation that is in use now, which may be another than the last time, or gone."""
        current = self._directory.current()
        if self._writer is not None and (current is None or self._writer.folder.name != current.name):
            self._writer.close()
            self._writer = None
        try:
            if self._writer is None:
                self._writer = self._open_writer(current)
            return act(self._writer)
        except (ValueError, OSError) as error:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            damage = self._directory.damage(current) if current is not None else None
            if damage is not None:
                self._directory.leave()
                raise StoreDamaged(
                    f"event index {self._directory.root}: damaged ({damage}); the next put makes another, and the feed's consumer fills it"
                ) from error
            raise StoreUnavailable(f"event index {self._directory.root}: {error}") from error

    def _open_writer(self, current: Generation | None) -> _Writer:
        if current is not None:
            return _Writer(self._directory.path(current), _WRITER_BYTES, new=False)
        folder = self._directory.new_folder()
        writer = _Writer(folder, _WRITER_BYTES, new=True)
        self._directory.point_at(folder, filled=False)
        return writer

    def _is_damaged(self, current: Generation) -> bool:
        """Whether files of the generation are not what was written. Reads all of them, and so now and then
        only.
        """
        now_s = self._clock.monotonic_s()
        if now_s - self._found_whole_s < _LOOK_EVERY_S:
            return False
        damage = self._directory.damage(current)
        if damage is not None:
            log.error("event index %s is damaged and is to be filled again: %s", self._directory.root, damage)
            return True
        self._found_whole_s = now_s
        return False

    def _newest_reader(self) -> _Reader | None:
        """A reader of what is committed. Where the index is gone, not filled again, or can't be opened now,
        the last one goes on.
        """
        reader = self._reader
        if reader is not None and reader.stamp == self._directory.stamp(reader.generation):
            return reader
        if not self._reading.acquire(blocking=reader is None):
            return reader  # another thread looks
        try:
            current = self._directory.current()
            last = self._reader
            if current is not None and (last is None or current.filled or not last.generation.filled):
                self._reader = self._opened(current, last)
        except (ValueError, OSError) as error:
            if self._reader is None:
                raise StoreUnavailable(f"event index {self._directory.root}: {error}") from error
        finally:
            self._reading.release()
        return self._reader

    def _true_reader(self) -> _Reader | None:
        """A reader of the generation in use and no other; None where there is none."""
        current = self._directory.current()
        return None if current is None else _translated(lambda: self._opened(current, self._reader))

    def _opened(self, generation: Generation, last: _Reader | None) -> _Reader:
        stamp = self._directory.stamp(generation)
        if last is not None and last.generation == generation:
            if last.stamp == stamp:
                return last
            return _Reader(self._directory, generation, stamp, last.index)
        return _Reader(self._directory, generation, stamp)


class _Reader:
    """One state of one generation."""

    def __init__(
        self,
        directory: IndexDirectory,
        generation: Generation,
        stamp: Stamp | None,
        index: tantivy.Index | None = None,
    ) -> None:
        self.generation = generation
        self.stamp = stamp
        self.index = index or _open(directory.path(generation))
        self.index.reload()
        self.searcher = self.index.searcher()
        self._open_fields()

    def candidates(self, plan: SearchPlan) -> Iterator[Candidate]:
        """What matches a plan, most points first."""
        found = self.searcher.search(query_of(plan), limit=CANDIDATES, count=False)
        for points, address in found.hits:
            yield Candidate(round(points), *self._stored(address))

    def versions(self, event_ids: Iterable[str] | None) -> dict[str, int]:
        """The versions of these, or of all."""
        if event_ids is not None:
            return _versions(self.searcher, event_ids)
        everything = self.searcher.search(
            Query.all_query(), limit=max(1, self.searcher.num_docs), count=False
        )
        documents = (self._stored(address)[0] for _, address in everything.hits)
        return {document.event_id: document.version for document in documents}

    def _open_fields(self) -> None:
        """Have each field's files opened now: tantivy does it at the first search, when they may be deleted.
        Raises `ValueError` if they are.
        """
        for field in (ID, *Field):
            nothing = Query.term_query(SCHEMA, field, "", index_option=_BASIC)
            self.searcher.search(nothing, limit=1, count=False)

    def _stored(self, address: tantivy.DocAddress) -> tuple[EventDocument, Places]:
        return _decode(bytes(self.searcher.doc(address).get_first(DOCUMENT)))  # type: ignore[arg-type]


class _Writer:
    """The one writer of a generation."""

    def __init__(self, folder: Path, heap_bytes: int, *, new: bool) -> None:
        self.folder = folder
        self._index = _made(folder) if new else _open(folder)
        self._writer: tantivy.IndexWriter | None = self._index.writer(heap_size=heap_bytes, num_threads=1)

    def put(self, documents: Sequence[EventDocument]) -> tuple[int, dict[str, str]]:
        """Add those that are newer than what is held, committed on return: how many, and why some
        can't be.
        """
        self._index.reload()
        held = _versions(self._index.searcher(), [document.event_id for document in documents])
        refused: dict[str, str] = {}
        newer: dict[str, tantivy.Document] = {}
        for document in documents:
            if held.get(document.event_id, 0) < document.version:
                try:
                    newer[document.event_id] = indexed(document)
                except (ValueError, TypeError, OverflowError) as error:
                    refused[document.event_id] = str(error)
        if newer:
            self.remove(newer)
            self._add(newer.values())
            self.commit()
        return len(newer), refused

    def add(self, documents: Sequence[EventDocument]) -> None:
        """Add documents that are not held."""
        self._add(indexed(document) for document in documents)

    def replace(self, documents: Sequence[EventDocument]) -> None:
        """Add documents in place of those held under the same ids."""
        self.remove([document.event_id for document in documents])
        self.add(documents)

    def _add(self, indexed: Iterable[tantivy.Document]) -> None:
        assert self._writer is not None
        for one in indexed:
            self._writer.add_document(one)

    def remove(self, event_ids: Iterable[str]) -> None:
        """Remove documents."""
        assert self._writer is not None
        for event_id in event_ids:
            self._writer.delete_documents_by_term(ID, event_id)

    def commit(self) -> None:
        """Make what was added durable and visible."""
        assert self._writer is not None
        self._writer.commit()

    def close(self) -> None:
        """Let the generation go; what was not committed is lost. May be called again."""
        self._writer = None


def _catch_up(building: _Writer, held: dict[str, int], source: EventDocuments) -> None:
    """Bring what was read before to the state of the source now."""
    wanted = source.versions()
    stale = [event_id for event_id, version in wanted.items() if held.get(event_id, 0) < version]
    gone = [event_id for event_id in held if event_id not in wanted]
    for event_ids in chunks(stale):
        documents = source.read(event_ids)
        building.replace(documents)
        held.update((document.event_id, document.version) for document in documents)
    building.remove(gone)
    for event_id in gone:
        del held[event_id]
    if stale or gone:
        _translated(building.commit)


def _translated(act: Callable[[], T]) -> T:
    try:
        return act()
    except (ValueError, OSError) as error:
        raise StoreUnavailable(f"event index: {error}") from error


def _made(folder: Path) -> tantivy.Index:
    """A new index in an empty folder."""
    return _ready(tantivy.Index(SCHEMA, path=str(folder), reuse=False))


def _open(folder: Path) -> tantivy.Index:
    """The index in a folder; never makes one, which in a folder that is being deleted would be an empty one
    that passes for it.
    """
    return _ready(tantivy.Index.open(str(folder)))


def _ready(index: tantivy.Index) -> tantivy.Index:
    index.register_tokenizer("terms", tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build())
    index.config_reader("manual")
    return index


def _versions(searcher: tantivy.Searcher, event_ids: Iterable[str]) -> dict[str, int]:
    found: dict[str, tantivy.DocAddress] = {}
    for event_id in event_ids:
        query = Query.term_query(SCHEMA, ID, event_id, index_option=_BASIC)
        for _, address in searcher.search(query, limit=1, count=False).hits:
            found[event_id] = address
    values = searcher.fast_field_values(VERSION, list(found.values()))
    return {event_id: int(value or 0) for event_id, value in zip(found, values, strict=True)}
