"""Which records a sink refuses, and whether it is the records' fault. Not here: writing and burying them
(worker.py).

A record that is refused is a suspect first. It is at fault once the sink has taken a record behind it; while
the sink takes none, the sink itself may be broken: a new constraint, a narrower column. So of refusals in a
row none is buried before that is decided, and when many good records are refused for one and the same reason,
it is the store's fault and none of them is buried.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from exchange_platform.stores.failures import same_reason
from exchange_platform.streams.engine.source import StreamRecord

REFUSED_IN_A_ROW = 100
"""So many refusals in a row for one reason are the store's fault."""
_REFUSED_AGAIN = 10
"""And so many when it is tried again after that."""
QUIET_S = 2.0
"""Where no record follows for so long, the suspects are judged without one."""


class StoreRefuses(Exception):
    """The sink refuses record after record for one reason: it is the store that is at fault."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A record that the sink refused, and why."""

    shard: str
    record: StreamRecord
    reason: str


class Refusals:
    """The refusals since the sink last took a record."""

    def __init__(self) -> None:
        self.suspects: list[Suspect] = []
        self.buried = 0
        """Those of the streak that were buried because nothing followed them for a while."""
        self._reasons: Counter[str] = Counter()
        self._newest_s = 0.0

    def refused(self, shard: str, record: StreamRecord, reason: str, now_s: float) -> None:
        """Note one more. Raises `StoreRefuses` when they are too many."""
        self.suspects.append(Suspect(shard, record, reason))
        self._newest_s = now_s
        kind = same_reason(reason)
        self._reasons[kind] += 1
        if self._reasons[kind] < REFUSED_IN_A_ROW:
            return
        text = f"{self._reasons[kind]} records in a row were refused for one reason, so none is taken for bad: {reason}"
        if self.buried:
            text += (
                f" {self.buried} of them, which nothing followed for a while, are dead letters:"
                " `exchange-platform dead-letters replay` applies them once the cause is gone."
            )
        raise StoreRefuses(text)

    def accepted(self) -> None:
        """The sink took a record: the suspects' refusal was their own fault, and the streak is over."""
        self.suspects = []
        self._reasons.clear()
        self.buried = 0

    def judged_alone(self, now_s: float) -> list[Suspect]:
        """The suspects, where nothing has followed them for a while; else none. The streak goes on."""
        if not self.suspects or now_s - self._newest_s < QUIET_S:
            return []
        guilty, self.suspects = self.suspects, []
        self.buried += len(guilty)
        return guilty

    def forget(self) -> None:
        """Drop the suspects: they will be tried again."""
        self.suspects = []
        for kind, times in self._reasons.items():
            self._reasons[kind] = min(times, REFUSED_IN_A_ROW - _REFUSED_AGAIN)
