"""A simulated exchange in made-up time, for tests."""

from __future__ import annotations

import random
import threading
from pathlib import Path

from exchange_platform.exchanges.simulated.exchange import Exchange
from exchange_platform.exchanges.simulated.journal import Journal, Pairs, Progress

START_US = 1_795_000_000_000_000


class MadeUpTime:
    """A clock that stands still until it is told otherwise."""

    def __init__(self, now_us: int = START_US) -> None:
        self.us = now_us

    def now_us(self) -> int:
        return self.us

    def monotonic_s(self) -> float:
        return self.us / 1e6

    def wait(self, wake: threading.Event, timeout_s: float) -> bool:
        self.us += int(max(0.0, timeout_s) * 1_000_000)
        return wake.is_set()


class RunningExchange:
    """An exchange on a journal, ticked by hand; `pairs` is all it has made public."""

    def __init__(self, path: Path, clock: MadeUpTime, *, rate: float = 50, seed: object = 1) -> None:
        self.clock = clock
        self.journal = Journal(path)
        self.journal._db.execute("PRAGMA synchronous = OFF")  # a test's machine keeps its power
        restored = self.journal.restore(clock.now_us())
        chance = random.Random(f"{seed}/{restored.numbers.starts}")
        self.exchange = Exchange(self.journal, restored, clock=clock, chance=chance, rate=rate)
        self.pairs: Pairs = []

    def run(self, seconds: float, *, published: int | None = 0, tick_s: float = 0.05) -> Pairs:
        """Let so many seconds pass; what they made public. `published` None: as much as was committed."""
        before = len(self.pairs)
        for _ in range(round(seconds / tick_s)):
            sequence = self.journal.last_sequence if published is None else published
            batch = self.exchange.tick(Progress(sequence, 1))
            if batch is not None:
                self.pairs.extend(batch.pairs)
            self.clock.us += round(tick_s * 1_000_000)
        return self.pairs[before:]

    def retained(self) -> Pairs:
        """What the journal would publish again."""
        return [pair for batch in self.journal.batches(0, self.journal.last_sequence) for pair in batch.pairs]
