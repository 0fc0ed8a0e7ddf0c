"""How much a sink takes in one commit, from what its commits have cost. Not here: committing
(committing.py).
"""

from __future__ import annotations

import statistics
from collections import deque

STEP_S = 4.0
"""A commit should be done in so many seconds, so that a checkpoint never stands still for long and a killed
run repeats little.
"""
MIN_STEP, FIRST_STEP, MAX_STEP = 10, 5_000, 20_000
_SAMPLES = 12
_MIN_PER_RECORD = 0.02
"""Of a commit's mean cost, what its records cost at least together, where it seems not to depend on their
number.
"""


class StepPace:
    """The number of records for the next commit.

    A commit costs something for itself and something for each record. Where its own cost is small, as many
    records are taken as fit into `STEP_S`. Where it is large (a store across a slow network, a busy machine,
    a view that is written once a user however many records that user has), smaller commits would only be more
    of them: then the records may cost as much again as the commit itself.
    """

    def __init__(self, max_records: int = MAX_STEP) -> None:
        self._max = max(MIN_STEP, min(MAX_STEP, max_records))
        self._costs: deque[tuple[int, float]] = deque(maxlen=_SAMPLES)
        self._own_share = 0.0
        self.records = min(FIRST_STEP, self._max)

    def committed(self, records: int, seconds: float) -> None:
        """Learn from one commit. The next is at most twice and at least half as large.

        One that was not full is no reason for a larger, one that was quick enough none for a smaller.
        """
        if not records:
            return
        self._costs.append((records, seconds))
        own_s, record_s = self._fit()
        fitting = int(max(STEP_S - own_s, own_s) / max(record_s, 1e-9))
        was_full = 10 * records >= 9 * self.records
        if seconds < STEP_S / 2 and was_full:
            fitting = 2 * self.records
        if fitting > self.records and not was_full:
            return
        if fitting < self.records and seconds <= STEP_S:
            return
        bounded = min(max(fitting, self.records // 2), 2 * self.records)
        self.records = min(max(bounded, MIN_STEP), self._max)

    def did_not_fit(self, records: int) -> None:
        """So many at once were too many for the store."""
        self.records = max(MIN_STEP, min(self.records, records) // 2)

    def _fit(self) -> tuple[float, float]:
        """What a commit costs for itself, and for each record: the straight line through the last ones."""
        counts = [count for count, _ in self._costs]
        seconds = [cost_s for _, cost_s in self._costs]
        mean, mean_s = statistics.fmean(counts), statistics.fmean(seconds)
        if mean_s <= 0:
            return 0.0, 0.0
        if statistics.pstdev(counts) > 0.1 * mean:
            slope = statistics.linear_regression(counts, seconds).slope
            share = 1 - slope * mean / mean_s
            self._own_share = min(max(share, 0.0), 1 - _MIN_PER_RECORD)
        own_s = self._own_share * mean_s
        return own_s, (mean_s - own_s) / mean
