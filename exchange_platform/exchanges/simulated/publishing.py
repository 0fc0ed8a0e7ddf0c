"""Publishing what the journal holds, in order, in a thread of its own; again after a lost stream. Not here:
the ticks (process.py).
"""

from __future__ import annotations

import logging
import queue
import random
import threading
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from exchange_platform.exchanges.simulated.journal import Journal, JournalBatch
from exchange_platform.exchanges.simulated.retention import Pairs, RetentionProgress
from exchange_platform.process.clock import Clock
from exchange_platform.settings.aws import error_code, is_transient
from exchange_platform.streams.sources.kinesis import (
    Publisher,
    StreamUnavailable,
    shard_name,
    stream_created_at,
)

log = logging.getLogger(__name__)

MAX_RECORDS_A_PUT = 5000
RETRY_AFTER_S = 0.5
STREAM_CHECK_EVERY_S = 2.0
"""After a failure it is checked at once. Only a stream that was recreated between two puts, neither of which
failed, is noticed so late; then a few records precede the older ones that are published again.
"""
REPEATED_ONE_IN = 500
"""One publication in so many is made twice, as by a producer whose acknowledgement was lost."""


class Publishing:
    """Takes committed batches and has them in the stream, in order, soon after.

    A batch that was handed over is published at least once, and a repeat is byte for byte the same. When the
    stream turns out to be another than the one published to before, everything that is not settled
    (retention.py) goes out again, first.
    """

    def __init__(
        self,
        journal: Journal,
        client: Any,
        stream: str,
        *,
        clock: Clock,
        chance: random.Random,
        repeated_one_in: int = REPEATED_ONE_IN,
    ) -> None:
        """The journal's unpublished batches are published first; every later one comes through `offer`.

        `repeated_one_in` 0 means that nothing is published twice on purpose.
        """
        self._journal = journal
        self._client = client
        self._stream = stream
        self._clock = clock
        self._chance = chance
        self._repeated_one_in = repeated_one_in
        self._ending = threading.Event()
        self._publisher = Publisher(
            client,
            stream,
            aggregate=True,
            give_up_after_s=0.0,  # trying on is done here, where each try first looks which stream it is
            clock=clock,
            stopping=self._ending,
        )
        self._progress = journal.progress
        self._last_at_start = journal.last_sequence
        self._offered: queue.SimpleQueue[JournalBatch | None] = queue.SimpleQueue()
        self._unpublished = journal.unpublished_records()
        self._counting = threading.Lock()
        self._checked_at_s = -STREAM_CHECK_EVERY_S
        self._thread = threading.Thread(target=self._run, name="publishing", daemon=True)
        self.published = 0
        """Records published since the start, repeats included."""
        self.available = False
        """Whether the last attempt went through."""
        self.failure: BaseException | None = None
        """What ended the thread, if something did."""

    @property
    def progress(self) -> RetentionProgress:
        """How far publishing has come; what `Exchange.tick` is to store."""
        return self._progress

    @property
    def unpublished(self) -> int:
        """Records that were handed over and are not known to be in the stream."""
        return self._unpublished

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def offer(self, batch: JournalBatch) -> None:
        """Hand over a committed batch. Never blocks."""
        self._count(len(batch.pairs))
        self._offered.put(batch)

    def finish(self, timeout_s: float) -> None:
        """Publish what was handed over, for as long as that is given; the rest stays in the journal."""
        self._offered.put(None)
        self._thread.join(timeout_s)
        self._ending.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        try:
            self._keep_trying(self._publish_backlog)
            while group := self._next_group():
                self._keep_trying(lambda group=group: self._publish(group, counted=True))
        except StreamUnavailable:
            log.info("ended with %d records unpublished; the journal keeps them", self._unpublished)
        except BaseException as error:
            log.exception("publishing ended")
            self.failure = error

    def _keep_trying(self, publish: Any) -> None:
        while True:
            try:
                self._check_stream()
                publish()
            except StreamUnavailable as error:
                self._checked_at_s = -STREAM_CHECK_EVERY_S
                if self.available:
                    log.warning("%s; trying on", error)
                self.available = False
                if self._clock.wait(self._ending, RETRY_AFTER_S):
                    raise
            else:
                self.available = True
                return

    def _check_stream(self) -> None:
        """See that the stream is the one published to before; republish what is retained into one that is
        not.

        Raises `StreamUnavailable`.
        """
        now_s = self._clock.monotonic_s()
        if now_s - self._checked_at_s < STREAM_CHECK_EVERY_S:
            return
        try:
            created_at = stream_created_at(self._client, self._stream)
        except (ClientError, BotoCoreError) as error:
            if is_transient(error) or error_code(error) == "ResourceNotFoundException":
                raise StreamUnavailable(f"stream {self._stream}: {error}") from error
            raise
        known, sequence = self._progress.stream_created_at, self._progress.sequence
        if known is not None and created_at != known:
            log.warning("stream %s was made again; publishing again what is not settled", self._stream)
            self._publisher.positions.clear()
            for group in _grouped(self._journal.batches(self._journal.settled_sequence, sequence)):
                self._publish(group, counted=False)
        self._progress = self._progress_at(sequence, created_at)
        self._checked_at_s = now_s

    def _publish_backlog(self) -> None:
        for group in _grouped(self._journal.batches(self._progress.sequence, self._last_at_start)):
            self._publish(group, counted=True)

    def _publish(self, group: list[JournalBatch], *, counted: bool) -> None:
        pairs: Pairs = [pair for batch in group for pair in batch.pairs]
        repeated = self._repeated_one_in and self._chance.randrange(self._repeated_one_in) == 0
        for _ in range(2 if repeated else 1):
            self._publisher.publish(pairs)
            self.published += len(pairs)
        if counted:
            sequence = max(self._progress.sequence, *(batch.sequence for batch in group))
            self._progress = self._progress_at(sequence, self._progress.stream_created_at)
            self._count(-len(pairs))
            for batch in group:
                if batch.done is not None:
                    batch.done.set()

    def _progress_at(self, sequence: int, created_at: int | None) -> RetentionProgress:
        positions = {
            shard_name(shard, created_at or 0): position
            for shard, position in self._publisher.positions.items()
        }
        return RetentionProgress(sequence, created_at, positions)

    def _next_group(self) -> list[JournalBatch]:
        """What was handed over meanwhile, at least one batch; nothing when it is time to finish."""
        group: list[JournalBatch] = []
        records = 0
        while records < MAX_RECORDS_A_PUT:
            try:
                batch = self._offered.get(block=not group)
            except queue.Empty:
                break
            if batch is None:
                self._offered.put(None)
                break
            group.append(batch)
            records += len(batch.pairs)
        return group

    def _count(self, records: int) -> None:
        with self._counting:
            self._unpublished += records


def _grouped(batches: Iterator[JournalBatch]) -> Iterator[list[JournalBatch]]:
    group: list[JournalBatch] = []
    records = 0
    for batch in batches:
        group.append(batch)
        records += len(batch.pairs)
        if records >= MAX_RECORDS_A_PUT:
            yield group
            group, records = [], 0
    if group:
        yield group
