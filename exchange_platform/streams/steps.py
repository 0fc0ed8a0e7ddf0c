"""How much a sink takes in one commit, from what its commits have cost. Not here: committing (worker.py)."""

from __future__ import annotations

STEP_S = 2.0
"""A commit should be done in so many seconds, so that a checkpoint never stands still for longer and a killed run repeats little."""
MIN_STEP, FIRST_STEP, MAX_STEP = 50, 2_000, 20_000


class Pace:
    """The number of records for the next commit: halved or less after one that took too long, doubled after a quick one."""

    def __init__(self, max_records: int = MAX_STEP) -> None:
        self._max = max(MIN_STEP, min(MAX_STEP, max_records))
        self.records = min(FIRST_STEP, self._max)

    def committed(self, records: int, seconds: float) -> None:
        """Learn from one commit. A small one that was quick says nothing of a large one."""
        if seconds > STEP_S:
            # The cost of a commit is not all its records': aim below what would just do.
            fitting = int(min(records, self.records) * STEP_S / seconds * 0.75)
            self.records = max(MIN_STEP, fitting)
        elif records >= self.records and seconds < STEP_S / 2:
            self.records = min(self._max, 2 * self.records)

    def did_not_fit(self, records: int) -> None:
        """So many at once were too many for the store."""
        self.records = max(MIN_STEP, min(self.records, records) // 2)
