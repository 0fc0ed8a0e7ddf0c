"""What is made of a consumer's row and of its process: does it live, is it hung, is it gone? One rule for
everybody who asks. Pure.

Asking a machine's processes is process_life.py; what is done about a dead consumer is supervision.py.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from exchange_platform.process.clock import elapsed_s
from exchange_platform.process.process_life import Life, life_of
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.consumers.consumers import ConsumerRow

Probe = Callable[[ConsumerRow], Life]
"""Somebody who may know whether a consumer's process runs: this machine, ECS, Dagster."""

MAX_START_S = 120.0
"""A run that began later than this after its request waited for a slot: that is no measure of what a start
costs.
"""


class RunCondition(enum.Enum):
    """How a consumer is."""

    ALIVE = "alive"
    """Its heartbeats come."""
    QUIET = "quiet"
    """It has missed heartbeats, and not yet for so long that it would be given up."""
    HUNG = "hung"
    """Its process runs, and has missed heartbeats for too long."""
    SILENT = "silent"
    """It has missed heartbeats for too long, and nobody can say whether its process runs."""
    GONE = "gone"
    """Its process does not run any more, though it never said that it ended."""
    ENDED = "ended"
    """It said that it ended."""


LEFT_ALONE = frozenset({RunCondition.ALIVE, RunCondition.QUIET})
"""Whoever is in one of these conditions is not replaced before its time."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a consumer may miss heartbeats: `silent_s` is worth a remark, `hung_s` gives up even a process
    that runs.
    """

    silent_s: float
    hung_s: float

    @classmethod
    def from_settings(cls, settings: Settings) -> Patience:
        """As configured."""
        return cls(settings.stale_heartbeat_s, settings.hung_after_s)

    def unknown_s(self, start_s: float | None) -> float:
        """After how long a consumer is given up of whose process nobody can say anything: the longer, the
        more its successor's start costs.
        """
        return max(self.silent_s, min(start_s or 0.0, self.hung_s / 2))


def this_machine(consumer: ConsumerRow) -> Life:
    """The probe that asks this machine's processes."""
    return life_of(consumer.process)


def life_by(probes: Iterable[Probe], consumer: ConsumerRow) -> Life:
    """What the first of the probes says that can say anything."""
    for probe in probes:
        life = probe(consumer)
        if life is not Life.UNKNOWN:
            return life
    return Life.UNKNOWN


def condition_of(consumer: ConsumerRow, life: Life, *, now_us: int, patience: Patience) -> RunCondition:
    """How the consumer is, by what it said itself and by what is known of its process."""
    if consumer.state != "running":
        return RunCondition.ENDED
    if life is Life.GONE:
        return RunCondition.GONE
    silent_s = elapsed_s(
        consumer.heartbeat_at_us, now_us
    )  # one that lies ahead is none, or a dead consumer would live for as long
    if silent_s < patience.silent_s:
        return RunCondition.ALIVE
    if life is Life.LIVES:
        return RunCondition.HUNG if silent_s >= patience.hung_s else RunCondition.QUIET
    return RunCondition.SILENT if silent_s >= patience.unknown_s(start_s(consumer)) else RunCondition.QUIET


def condition_here(consumer: ConsumerRow, *, now_us: int, settings: Settings) -> RunCondition:
    """How the consumer is, as far as this machine can say."""
    return condition_of(
        consumer, this_machine(consumer), now_us=now_us, patience=Patience.from_settings(settings)
    )


def start_s(consumer: ConsumerRow) -> float | None:
    """How long the consumer took from its request to its beginning; None where that is not known or not a
    measure of it.
    """
    if consumer.requested_at_us is None:
        return None
    seconds = (consumer.started_at_us - consumer.requested_at_us) / 1e6
    return seconds if 0 <= seconds <= MAX_START_S else None


def longest_start_s(consumers: Iterable[ConsumerRow]) -> float:
    """The longest of these consumers' starts; 0 where none is known."""
    return max((seconds for one in consumers if (seconds := start_s(one)) is not None), default=0.0)
