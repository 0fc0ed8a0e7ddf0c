"""The exchange's event feed as a source of the consumer engine: one shard, read by long polls over HTTP
(docs/exchange.md).

Not here: what its updates mean (exchange_platform/domain/events.py), or what becomes of them
(streams/exchange_feed.py).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, NamedTuple

import msgspec

from exchange_platform.process.back_off import BackOff
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.process.decoders import json_decoder
from exchange_platform.process.lean_httpx import httpx
from exchange_platform.process.signed_http import ExchangeAccess
from exchange_platform.settings.locations import shown_url
from exchange_platform.streams.engine.source import (
    SHARD_END,
    Read,
    Shard,
    ShardsChanged,
    SourceUnavailable,
    StreamRecord,
    Unread,
)

log = logging.getLogger(__name__)

READ_LIMIT = 500
"""Updates that one answer is asked for."""
SILENT_AFTER_S = 3.0
"""So much later than asked for, an answer is not waited for any more."""
MAX_BYTES = 64 * 1024 * 1024
"""A longer answer is nonsense."""
_MAX_BURIED_BYTES = 1_000_000
_PART_BY_PART_S = 0.5
"""How long one read may look for the unreadable parts of an answer."""
_NEWEST = 2**63 - 1
_SHOWN = 200
_TELL_S = 1.0
"""How long an error that can't be fixed is reported before reading goes on: two heartbeats."""
_BACK_OFF = BackOff(first_s=0.2, max_s=5.0)

_Cursor = Annotated[int, msgspec.Meta(ge=0, le=_NEWEST)]


class _Entry(msgspec.Struct):
    cursor: _Cursor
    update: msgspec.Raw


class _Answer(msgspec.Struct):
    feed_id: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[!-~]+$")]
    newest: _Cursor
    updates: list[_Entry]
    oldest: _Cursor = 1
    """From here on every update is held; of those before it, which were replaced may be gone."""
    ended_from: _Cursor | None = None
    """The end of everything that ended from here on is held. A feed that does not say promises no more than
    `oldest` does.
    """


class _Place(NamedTuple):
    """Where reading is: how often the feed went back, and the cursor since. As text `500`, and `1:500` after
    it went back once.
    """

    turns: int
    cursor: int

    @classmethod
    def of(cls, position: str | None) -> _Place:
        turns, _, cursor = (position or "0").rpartition(":")
        return cls(int(turns or 0), int(cursor))

    def text(self) -> str:
        return f"{self.turns}:{self.cursor}" if self.turns else str(self.cursor)


class _Nonsense(Exception):
    """An answer that is none: `body` is what came."""

    def __init__(self, message: str, body: bytes) -> None:
        super().__init__(message)
        self.body = body


_decoder = json_decoder(_Answer)
_cursor_in = re.compile(rb'"cursor"\s*:\s*(\d{1,19})\b')


class FeedSource:
    """The feed at a URL. Its shard is named after its id (`feed@<feed_id>`), a position is a cursor as text.

    A read waits at the feed for up to `wait_s`, so one that is repeated without a pause follows the feed at
    once. What is handled: a feed that does not answer, or answers nonsense, is unavailable until it does;
    another feed at the same place is another shard, read from its beginning; a feed that goes back (its
    newest cursor lies before ours: it was restored from an older copy) is read again from its beginning, at
    positions behind all earlier ones; repeated updates are passed over; a single update that makes the answer
    unreadable is found and handed on as it is, to be buried. Updates carry versions, so reading one again
    does no harm.
    """

    def __init__(
        self,
        url: str | None,
        *,
        name: str,
        keys: tuple[str, ...] = (),
        wait_s: float = 0.2,
        silent_after_s: float = SILENT_AFTER_S,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`url` is the exchange's (`/feed` is added); None is a feed that is not available yet. `keys` as in
        exchange_asking.py.
        """
        self.name = name
        self.repeats = 0
        self._url = f"{url.rstrip('/')}/feed" if url else None
        self._keys = keys
        self._wait_s = wait_s
        self._silent_after_s = silent_after_s
        self._clock = clock
        self._client: httpx.Client | None = None
        self._feed_id: str | None = None
        self._at: dict[str, _Place] = {}
        self._went_back: dict[tuple[str, _Place], int] = {}
        self._sought: set[str] = set()
        """Shards of which it was not looked yet whether the feed still holds what follows."""
        self._hole: Unread | None = None
        self._limit = READ_LIMIT
        self._at_tip_s: float | None = None
        self._failures = 0

    def shards(self) -> Sequence[Shard]:
        """The feed's one shard. A feed that answered the last read is not asked for it again."""
        if self._feed_id is None:
            self._feed_id = self._envelope().feed_id
        return [Shard(_shard_of(self._feed_id))]

    def seek(self, shard: str, position: str | None) -> None:
        """Let the next read begin just after `position`."""
        self._at[shard] = _Place.of(position)
        self._sought.add(shard)

    def read(self, shard: str) -> Read:
        """Ask for what follows, waiting a little for it where there is nothing yet. Where an answer is
        unreadable, ask again for parts of it.
        """
        read = self._read(shard)
        hole, self._hole = self._hole, None
        return read if hole is None else replace(read, unread=hole)

    def _read(self, shard: str) -> Read:
        until_s = self._clock.monotonic_s() + _PART_BY_PART_S
        wait_s = self._wait_s
        records: list[StreamRecord] = []
        reachable = -1
        while True:
            place = self._place(shard)
            limit = self._limit
            try:
                answer = self._ask(place.cursor, limit, wait_s)
            except _Nonsense as nonsense:
                if limit > 1:
                    self._limit = max(1, limit // 8)
                else:
                    if reachable <= place.cursor:
                        reachable = self._reachable(shard, place, nonsense)
                    records.append(self._poisoned(shard, place, reachable, nonsense))
                behind_ms = 1.0
            else:
                found = self._found(shard, place, answer)
                self._limit = min(READ_LIMIT, limit * 2)
                records += found
                behind_ms = self._behind_ms(self._at[shard].cursor, answer, moved=bool(found))
                if limit == READ_LIMIT or not behind_ms:
                    return Read(records, behind_ms)
            if self._clock.monotonic_s() > until_s:
                return Read(records, behind_ms)
            wait_s = 0.0

    def is_after(self, position: str, other: str | None) -> bool:
        """Cursors are ordered as numbers, those after the feed went back behind all before."""
        if other is None:
            return True
        if other == SHARD_END:
            return False
        return position == SHARD_END or _Place.of(position) > _Place.of(other)

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _place(self, shard: str) -> _Place:
        """From where to read: the feed's beginning once more, when it has said twice that it went back."""
        place = self._at[shard]
        return _Place(place.turns + 1, 0) if self._went_back.get((shard, place), 0) > 1 else place

    def _found(self, shard: str, place: _Place, answer: _Answer) -> list[StreamRecord]:
        """The answer's updates as records, in order, each once."""
        self._check_feed(shard, answer)
        if answer.newest < place.cursor:
            raise self._back(shard, place, answer)
        if place == self._at[shard]:
            self._went_back.clear()
        self._note_hole(shard, place, answer)
        arrived_at_us = self._clock.now_us()
        records: list[StreamRecord] = []
        for entry in sorted(answer.updates, key=lambda entry: entry.cursor):
            if entry.cursor <= place.cursor:
                self.repeats += 1
                continue
            place = self._at[shard] = _Place(place.turns, entry.cursor)
            records.append(StreamRecord(place.text(), 0, "", bytes(entry.update), arrived_at_us))
        return records

    def _note_hole(self, shard: str, place: _Place, answer: _Answer) -> None:
        """See whether the feed has dropped the end of something that was not read yet. What was merely
        replaced is no loss.
        """
        if shard not in self._sought:
            return
        self._sought.discard(shard)
        ended_from = answer.oldest if answer.ended_from is None else answer.ended_from
        if 0 < place.cursor < ended_from - 1:
            before = _Place(place.turns, ended_from).text()
            self._hole = Unread(place.text(), before, certain=answer.ended_from is not None)

    def _behind_ms(self, cursor: int, answer: _Answer, *, moved: bool) -> float:
        """0 at the tip; else how long ago the tip was last seen, at least 1."""
        now_s = self._clock.monotonic_s()
        if cursor >= answer.newest or (not moved and answer.oldest > answer.newest):
            self._at_tip_s = now_s
            return 0.0
        if not moved:
            raise self._unavailable(
                f"nothing follows cursor {cursor}, although the newest is {answer.newest}", known=True
            )
        return max(1.0, (now_s - self._at_tip_s) * 1000) if self._at_tip_s is not None else 1.0

    def _check_feed(self, shard: str, answer: _Answer) -> None:
        if _shard_of(answer.feed_id) != shard:
            self._feed_id = None
            raise ShardsChanged(
                f"{shown_url(str(self._url))} is another feed now: {answer.feed_id}; {shard} is no more"
            )
        self._feed_id = answer.feed_id
        self._failures = 0

    def _back(self, shard: str, place: _Place, answer: _Answer) -> SourceUnavailable:
        """Believe it when it is said twice: one of several servers may only be behind."""
        said = self._went_back[shard, place] = self._went_back.get((shard, place), 0) + 1
        what = f"the feed went back: its newest cursor is {answer.newest}, {place.text()} was read already"
        then = "it is asked again" if said == 1 else "it is read again from its beginning"
        log.warning("%s: %s; %s", self.name, what, then)
        return SourceUnavailable(self._text(f"{what}; {then}"), retry_after_s=_TELL_S)

    def _reachable(self, shard: str, place: _Place, nonsense: _Nonsense) -> int:
        """The feed's newest cursor, by an answer without updates: then it is the update that is unreadable,
        not the feed.
        """
        envelope = self._envelope(nonsense)
        self._check_feed(shard, envelope)
        if envelope.newest <= place.cursor:
            raise self._unavailable(str(nonsense), known=True)
        return envelope.newest

    def _poisoned(self, shard: str, place: _Place, reachable: int, nonsense: _Nonsense) -> StreamRecord:
        """The one update after `place`, which makes its answer unreadable, with all of that answer."""
        told = _cursor_in.search(nonsense.body)
        cursor = int(told[1]) if told else 0
        if not place.cursor < cursor <= reachable:
            cursor = place.cursor + 1
        place = self._at[shard] = _Place(place.turns, cursor)
        data = nonsense.body[:_MAX_BURIED_BYTES]
        return StreamRecord(place.text(), 0, "", data, self._clock.now_us())

    def _envelope(self, because: _Nonsense | None = None) -> _Answer:
        """An answer without updates: which feed it is, and how far it goes."""
        try:
            return self._ask(_NEWEST, 1, 0.0)
        except _Nonsense as nonsense:
            raise self._unavailable(str(because or nonsense)) from nonsense

    def _ask(self, after: int, limit: int, wait_s: float) -> _Answer:
        """One request. Raises `SourceUnavailable` where there is no answer, and `_Nonsense` for one that
        can't be understood.
        """
        if self._url is None:
            raise self._unavailable("no exchange is configured: set EXCHANGE_PLATFORM_EXCHANGE_URL")
        if self._client is None:
            self._client = self._new_client(self._url)
        patience_s = wait_s + self._silent_after_s
        until_s = self._clock.monotonic_s() + patience_s
        parameters: dict[str, str | int] = {"after": after, "limit": limit, "wait_s": f"{wait_s:g}"}
        body = bytearray()
        try:
            # How long the body may be is looked at here: the beginning of one that is too long is kept.
            bounds = {"max_s": patience_s, "max_bytes": None}
            with self._client.stream(
                "GET", self._url, params=parameters, timeout=patience_s, extensions=bounds
            ) as response:
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > MAX_BYTES:
                        self._refuse_to_bury_unsigned(limit)
                        raise _Nonsense(f"an answer longer than {MAX_BYTES} bytes", bytes(body[:MAX_BYTES]))
                    if self._clock.monotonic_s() > until_s:
                        raise httpx.ReadTimeout("the answer does not end")
                status = response.status_code
        except httpx.TimeoutException as error:
            raise self._unavailable(f"silent for {patience_s:g} s ({type(error).__name__})") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unavailable(str(error) or type(error).__name__) from error
        shown = bytes(body[:_SHOWN]).decode(errors="replace")
        if status != httpx.codes.OK:
            raise self._unavailable(f"status {status}: {shown}")
        try:
            return _decoder.decode(bytes(body))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise _Nonsense(f"no answer of a feed ({error}): {shown}", bytes(body)) from error

    def _new_client(self, url: str) -> httpx.Client:
        try:
            access = ExchangeAccess(url, self._keys)
            why = access.why_not_believed
        except httpx.InvalidURL as error:
            raise self._unavailable(str(error)) from error
        if why is not None:
            raise self._unavailable(why)
        return access.client(max_s=self._silent_after_s, headers={"Accept": "application/json"})

    def _refuse_to_bury_unsigned(self, limit: int) -> None:
        """An update that is too long to see whose it is becomes no dead letter where answers are signed:
        anybody could make one.
        """
        if self._keys and limit == 1:
            raise self._unavailable(
                f"an answer longer than {MAX_BYTES} bytes, so that its signature is not seen"
            )

    def _unavailable(self, reason: str, *, known: bool = False) -> SourceUnavailable:
        """Unless it is known which feed answered, another may have taken its place."""
        if not known:
            self._feed_id = None
        self._failures += 1
        return SourceUnavailable(self._text(reason), retry_after_s=_BACK_OFF.pause_s(self._failures))

    def _text(self, reason: str) -> str:
        return f"exchange feed {shown_url(self._url)}: {reason}" if self._url else f"exchange feed: {reason}"


def _shard_of(feed_id: str) -> str:
    return f"feed@{feed_id}"
