"""The event index on Elasticsearch 9: an alias over one index, written with external versions. Not here: its
mapping and queries (queries.py), what matches and ranks (search/).

Only features of Elasticsearch's core are used: no module, no plugin, no script.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from elastic_transport import HttpHeaders, NodeConfig, Urllib3HttpNode
from elastic_transport.client_utils import DEFAULT, DefaultType
from elasticsearch import ApiError, BadRequestError, Elasticsearch, NotFoundError, TransportError

from exchange_platform.process.call_bounds import MAX_BYTES, bounded_call, bounded_connections
from exchange_platform.process.clock import Clock
from exchange_platform.search.answering import answer
from exchange_platform.search.documents import EventDocument, EventHit, EventQuery
from exchange_platform.search.expressions import CANDIDATES, SearchPlan
from exchange_platform.search.ranking import Candidate
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.event_index.index import DocumentsRefused, EventDocuments, newest_of, refusal
from exchange_platform.stores.event_index.queries import (
    FORMAT,
    REFRESH_INTERVAL,
    as_candidate,
    as_query,
    indexed,
    meta,
    template,
)
from exchange_platform.stores.operational.upsert import chunks

_PAGE = 2000
_FEW = 20
_ABANDONED_MS = 3_600_000
_TIMEOUT_S = 10.0
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})


class _BoundedNode(Urllib3HttpNode):
    """Elasticsearch over HTTP; a call takes no longer than its time-out, dripped bytes included, and no
    answer is longer than allowed.
    """

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self.pool.ConnectionCls = bounded_connections(self.pool.ConnectionCls, plain=True)

    def perform_request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> Any:
        """As the library's."""
        seconds = self.config.request_timeout if request_timeout is DEFAULT else request_timeout
        until_s = None if seconds is None else time.monotonic() + seconds
        with bounded_call(until_s=until_s, max_bytes=MAX_BYTES):
            return super().perform_request(method, target, body, headers, request_timeout)


class ElasticsearchEventIndex:
    """An `EventIndex` behind an alias. Thread-safe; any number of processes may put, the newest version of a
    document stays.
    """

    def __init__(self, url: str, *, alias: str, api_key: str | None, clock: Clock) -> None:
        self._alias = alias
        self._clock = clock
        self._client = Elasticsearch(
            url,
            node_class=_BoundedNode,
            api_key=api_key,
            request_timeout=_TIMEOUT_S,
            retry_on_timeout=False,
            max_retries=1,
            connections_per_node=16,
        )

    def prepare(self) -> None:
        """See `EventIndex.prepare`: the template, and the alias over an index of no documents where there is
        none.
        """
        with self._asked():
            self._client.indices.put_index_template(name=self._alias, **template(self._alias))
            if self._client.indices.exists(index=self._alias):
                if not self._client.indices.exists_alias(name=self._alias):
                    raise StoreUnavailable(
                        f"event index: {self._alias} is an index, it must be an alias: delete that index, or name another with"
                        " EXCHANGE_PLATFORM_EVENT_INDEX"
                    )
                return
            first = f"{self._alias}-first"
            try:
                self._client.indices.create(index=first, mappings=meta(filled=False))
            except BadRequestError as error:
                if error.error != "resource_already_exists_exception":
                    raise
            self._client.indices.update_aliases(actions=[{"add": {"index": first, "alias": self._alias}}])

    def put(self, documents: Sequence[EventDocument]) -> int:
        """See `EventIndex.put`."""
        written = 0
        for page in chunks(newest_of(documents)):
            try:
                written += self._bulk(self._alias, page)
            except _NoSuchIndex:
                self.prepare()
                written += self._bulk(self._alias, page)
        return written

    def search(self, query: EventQuery) -> tuple[EventHit, ...]:
        """See `EventIndex.search`."""
        return answer(query, self._clock.now_us(), self._candidates)

    def versions(self, event_ids: Iterable[str] | None = None) -> dict[str, int]:
        """See `EventIndex.versions`."""
        with self._asked():
            try:
                if event_ids is None:
                    self._client.indices.refresh(index=self._alias)
                    return dict(self._every_version(self._alias))
                found: dict[str, int] = {}
                for page in chunks(list(event_ids)):
                    answered = self._client.mget(index=self._alias, ids=list(page), source=False)
                    found.update(
                        (one["_id"], one["_version"]) for one in answered["docs"] if one.get("found")
                    )
                return found
            except NotFoundError:
                return {}

    def count(self) -> int:
        """See `EventIndex.count`."""
        with self._asked():
            try:
                self._client.indices.refresh(index=self._alias)
                return int(self._client.count(index=self._alias)["count"])
            except NotFoundError:
                return 0

    def is_filled(self) -> bool:
        """See `EventIndex.is_filled`."""
        with self._asked():
            try:
                mappings = self._client.indices.get_mapping(index=self._alias)
            except NotFoundError:
                return False
            told = [one["mappings"].get("_meta", {}) for one in mappings.values()]
            return all(one.get("filled") is True and one.get("format") == FORMAT for one in told)

    def rebuild(self, source: EventDocuments) -> int:
        """See `EventIndex.rebuild`. Rebuilds at the same time do no harm: the last to end stays."""
        with self._asked():
            self._client.indices.put_index_template(name=self._alias, **template(self._alias))
            self._delete_abandoned()
            index = f"{self._alias}-{self._clock.now_us()}-{uuid.uuid4().hex[:6]}"
            self._client.indices.create(
                index=index, mappings=meta(filled=False), settings={"refresh_interval": "-1"}
            )
        held: dict[str, int] = {}
        for page in source.pages():
            self._fill(index, page, held)
        self._catch_up(index, held, source)
        with self._asked():
            self._client.indices.put_mapping(index=index, **meta(filled=True))
            self._client.indices.put_settings(
                index=index, settings={"index": {"refresh_interval": REFRESH_INTERVAL}}
            )
            self._client.indices.refresh(index=index)
            before = self._behind_alias()
            self._client.indices.update_aliases(
                actions=[
                    {"add": {"index": index, "alias": self._alias}},
                    *({"remove_index": {"index": old}} for old in before),
                ]
            )
        self._catch_up(index, held, source)
        return len(held)

    def close(self) -> None:
        """See `EventIndex.close`."""
        self._client.close()

    def _candidates(self, plan: SearchPlan) -> Iterator[Candidate]:
        """What matches a plan, most points first: a few, which mostly settle it, then all, those few again.

        Not a second page after the first: when a put or a rebuild comes between them, what was on neither
        would be missed.
        """
        few = self._hits(plan, _FEW)
        yield from map(as_candidate, few)
        if len(few) == _FEW:
            yield from map(as_candidate, self._hits(plan, CANDIDATES))

    def _hits(self, plan: SearchPlan, most: int) -> list[Any]:
        with self._asked():
            try:
                found = self._client.search(
                    index=self._alias, query=as_query(plan), size=most, track_total_hits=False
                )
            except NotFoundError:
                return []
        return list(found["hits"]["hits"])

    def _bulk(self, index: str, documents: Sequence[EventDocument]) -> int:
        """Index what is newer; returns how many were. Raises `_NoSuchIndex`, `DocumentsRefused`."""
        operations: list[Mapping[str, Any]] = []
        for document in documents:
            action = {"_id": document.event_id, "version": document.version, "version_type": "external"}
            operations += [{"index": action}, indexed(document)]
        with self._asked():
            try:
                answered = self._client.bulk(
                    index=index, operations=operations, require_alias=index == self._alias
                )
            except NotFoundError:
                raise _NoSuchIndex from None
            except BadRequestError as error:
                raise DocumentsRefused(
                    f"the event index refused a batch whole: {str(error)[:300]}"
                ) from error
        written, refused = 0, {}
        for item in answered["items"]:
            result = item["index"]
            status = result["status"]
            if status < 300:
                written += 1
            elif status == 404:
                raise _NoSuchIndex
            elif status in _TRANSIENT:
                raise StoreUnavailable(f"event index: {_said(result)}")
            elif status != 409:  # 409: what is held is as new
                refused[result["_id"]] = _said(result)
        if refused:
            raise DocumentsRefused(refusal(refused))
        return written

    def _fill(self, index: str, documents: Sequence[EventDocument], held: dict[str, int]) -> None:
        for page in chunks(documents):
            try:
                self._bulk(index, page)
            except _NoSuchIndex:
                raise StoreUnavailable(f"event index: {index} was deleted while it was filled") from None
        held.update((document.event_id, document.version) for document in documents)

    def _catch_up(self, index: str, held: dict[str, int], source: EventDocuments) -> None:
        wanted = source.versions()
        stale = [event_id for event_id, version in wanted.items() if held.get(event_id, 0) < version]
        for event_ids in chunks(stale):
            self._fill(index, source.read(event_ids), held)
        gone = [event_id for event_id in held if event_id not in wanted]
        for event_ids in chunks(gone):
            with self._asked():
                self._client.bulk(index=index, operations=[{"delete": {"_id": one}} for one in event_ids])
        for event_id in gone:
            del held[event_id]

    def _every_version(self, index: str) -> Iterator[tuple[str, int]]:
        after: list[Any] | None = None
        while True:
            found = self._client.search(
                index=index,
                size=_PAGE,
                sort=[{"event_id": "asc"}],
                search_after=after,
                source=False,
                version=True,
                track_total_hits=False,
            )
            hits = found["hits"]["hits"]
            yield from ((hit["_id"], hit["_version"]) for hit in hits)
            if len(hits) < _PAGE:
                return
            after = hits[-1]["sort"]

    def _behind_alias(self) -> list[str]:
        try:
            return list(self._client.indices.get_alias(name=self._alias))
        except NotFoundError:
            # An index that bears the alias's own name was made by hand; it gives way.
            return [self._alias] if self._client.indices.exists(index=self._alias) else []

    def _delete_abandoned(self) -> None:
        """Delete what rebuilds that died an hour ago and more left."""
        found = self._client.indices.get(index=f"{self._alias}-*", expand_wildcards="all")
        for name, about in found.items():
            age_ms = self._clock.now_us() // 1000 - int(about["settings"]["index"]["creation_date"])
            if not about["aliases"] and age_ms > _ABANDONED_MS:
                self._client.indices.delete(index=name, ignore_unavailable=True)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except NotFoundError:
            raise
        except (TransportError, ApiError) as error:
            raise StoreUnavailable(f"event index: Elasticsearch: {str(error)[:300]}") from error


class _NoSuchIndex(Exception):
    """There is no alias, or no index, to write to."""


def _said(result: Mapping[str, Any]) -> str:
    error = result.get("error") or {}
    return f"{result['status']} {error.get('type', '')} {error.get('reason', '')}"[:300]
