"""Whether a source needs a new consumer run, decided from what its consumers say and what is known of their
processes. Pure; no I/O, no Dagster.

Not here: who asks (sensors/) or how a run is started.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import msgspec

from exchange_platform.process.back_off import BackOff
from exchange_platform.process.clock import elapsed_s
from exchange_platform.process.decoders import json_decoder
from exchange_platform.process.process_life import Life
from exchange_platform.runs.liveness import (
    LEFT_ALONE,
    Patience,
    RunCondition,
    condition_of,
    longest_start_s,
    start_s,
)
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.consumers.consumers import ConsumerRow

MAX_GRACE_S = 120.0
"""The grace of a request is doubled with each attempt, up to this, or itself if that is more."""
AFTER_FAILURES = BackOff(first_s=5.0, max_s=300.0)
"""How long the next request waits after runs that failed in a row."""
_WORKED_S = 120.0
"""A run that failed after so long had worked: the failures before it are over. (One of its sinks was degraded
for too long; the others need a successor.)
"""
_STARTS_A_GRACE = 2.0
"""A start may take so many times the longest of the newest ones before another run is requested."""
_LOOKS_AT_A_HUNG_ONE = 3
"""A heartbeat that is old at the first look may be so because the clock jumped, or the whole machine stood
still.
"""

Lives = Mapping[str, Life]
"""What is known of the processes of runs, by run id; nothing is known of those that are left out."""


class Requests(msgspec.Struct, frozen=True):
    """What a supervisor remembers between looks: the requests for a successor of one epoch, and the heartbeat
    that it saw missed.
    """

    after_epoch: int = -1
    attempts: int = 0
    requested_at_us: int = 0
    missed_after_us: int = -1
    looks: int = 0
    """How many looks in a row found no newer heartbeat than `missed_after_us`."""

    def looked(self, heartbeat_at_us: int) -> Requests:
        """One look more at a consumer that misses heartbeats since then."""
        looks = self.looks + 1 if heartbeat_at_us == self.missed_after_us else 1
        return msgspec.structs.replace(self, missed_after_us=heartbeat_at_us, looks=looks)


class AllRequests(msgspec.Struct, frozen=True):
    """What a supervisor remembers of each consumer that it keeps alive, by name."""

    consumers: dict[str, Requests] = {}

    @classmethod
    def from_text(cls, text: str | None) -> AllRequests:
        """Read what `to_text` wrote; anything else is forgotten."""
        try:
            return _all_requests.decode(text or "{}")
        except msgspec.MsgspecError:
            return cls()

    def of(self, consumer: str) -> Requests:
        """Those for a successor of this consumer."""
        return self.consumers.get(consumer, Requests())

    def replaced(self, consumer: str, requests: Requests) -> AllRequests:
        """The same with other requests of this consumer."""
        return AllRequests({**self.consumers, consumer: requests})

    def to_text(self) -> str:
        """A short text to keep as a cursor."""
        return msgspec.json.encode(self).decode()


_all_requests = json_decoder(AllRequests)


@dataclass(frozen=True, slots=True)
class Decision:
    """Start a run under `run_key`, or (None) leave things as they are; and why, in numbers."""

    reason: str
    requests: Requests
    run_key: str | None = None


def decide(
    source: str,
    recent: Sequence[ConsumerRow],
    requests: Requests,
    *,
    now_us: int,
    settings: Settings,
    lives: Lives = MappingProxyType({}),
    pending: int = 0,
) -> Decision:
    """Decide about one source, or one share of it. `recent` are its newest consumers, newest first.

    A run is requested when there is no live consumer, when the live one nears its end, when its process is
    gone, and when it is hung or has been silent for too long (liveness.py). A request for a successor of the
    same epoch is repeated only after a grace, which follows what the newest starts took, and not while
    `pending` runs of it wait for a slot or are starting; after failures in a row the next request waits,
    exponentially longer.
    """
    newest = recent[0] if recent else None
    epoch = newest.epoch if newest is not None else 0
    if newest is None:
        need = "no consumer yet"
    else:
        condition = _condition(newest, lives, now_us, settings)
        missed = condition in (RunCondition.QUIET, RunCondition.HUNG, RunCondition.SILENT)
        requests = (
            requests.looked(newest.heartbeat_at_us)
            if missed
            else msgspec.structs.replace(requests, missed_after_us=-1, looks=0)
        )
        if condition in LEFT_ALONE or _is_too_early(condition, requests):
            left_s = (newest.ends_at_us - now_us) / 1e6
            if left_s > _lead_s(newest, recent, settings):
                text = _left_alone_text(newest, condition, now_us, settings, lives)
                return Decision(
                    text, Requests(missed_after_us=requests.missed_after_us, looks=requests.looks)
                )
            need = f"run {newest.run_id[:8]} ends in {max(0.0, left_s):.0f} s: its successor is requested"
        else:
            need = _end_text(newest, condition, now_us)

    failures = _failures_in_a_row(recent)
    if failures and newest is not None:
        wait_s = AFTER_FAILURES.pause_s(failures)
        waited_s = elapsed_s(newest.heartbeat_at_us, now_us)
        if waited_s < wait_s:
            return Decision(
                f"{need}; {failures} failures in a row, next try in {wait_s - waited_s:.0f} s", requests
            )
    mine = (
        requests
        if requests.after_epoch == epoch
        else msgspec.structs.replace(requests, after_epoch=epoch, attempts=0, requested_at_us=0)
    )
    if mine.attempts:
        first_s = max(settings.run_start_s, _STARTS_A_GRACE * longest_start_s(recent))
        grace_s = BackOff(first_s, max(MAX_GRACE_S, first_s)).pause_s(mine.attempts)
        waited_s = elapsed_s(mine.requested_at_us, now_us)
        if waited_s < grace_s:
            return Decision(f"{need}; requested {waited_s:.0f} s ago (attempt {mine.attempts})", mine)
        if pending:
            return Decision(f"{need}; requested {_ago(waited_s)}, {pending} queued or starting", mine)
    mine = _once_more(mine, now_us)
    return Decision(
        f"{need}; after epoch {epoch}, attempt {mine.attempts}",
        mine,
        run_key=f"{source}/{epoch + 1}/{mine.attempts}/{now_us // 1_000_000}",
    )


def abandoned(
    recent: Sequence[ConsumerRow],
    requests: Requests,
    *,
    now_us: int,
    settings: Settings,
    lives: Lives = MappingProxyType({}),
) -> list[str]:
    """The ids of runs to be ended: their processes are gone or hung, though whoever keeps the runs may
    believe that they go on and hold a slot for them.

    Where nobody can say whether a process runs, a silent consumer is one that has a successor, or whose
    successor was requested more than once and never came, for want of a slot. Should it live after all, no
    harm is done: it writes until a successor has begun, whose epoch is higher, and nothing after that.
    """
    ids: list[str] = []
    for number, consumer in enumerate(recent):
        condition = _condition(consumer, lives, now_us, settings)
        silent_s = elapsed_s(consumer.heartbeat_at_us, now_us)
        replaced = number > 0 or requests.attempts > 1
        if (
            condition is RunCondition.GONE
            or (condition is RunCondition.HUNG and (number > 0 or not _is_too_early(condition, requests)))
            or (condition is RunCondition.SILENT and replaced and silent_s >= settings.run_start_s)
        ):
            ids.append(consumer.run_id)
    return ids


def _once_more(requests: Requests, now_us: int) -> Requests:
    """One more attempt, made now."""
    return msgspec.structs.replace(requests, attempts=requests.attempts + 1, requested_at_us=now_us)


def _condition(consumer: ConsumerRow, lives: Lives, now_us: int, settings: Settings) -> RunCondition:
    life = lives.get(consumer.run_id, Life.UNKNOWN)
    return condition_of(consumer, life, now_us=now_us, patience=Patience.from_settings(settings))


def _is_too_early(condition: RunCondition, requests: Requests) -> bool:
    """Whether a hung consumer has not been looked at often enough to end a process that runs."""
    return condition is RunCondition.HUNG and requests.looks < _LOOKS_AT_A_HUNG_ONE


def _lead_s(newest: ConsumerRow, recent: Sequence[ConsumerRow], settings: Settings) -> float:
    """How long before its end the consumer's successor is requested: as configured, or longer where starts
    take longer.
    """
    lives_s = (newest.ends_at_us - newest.started_at_us) / 1e6
    needed_s = min(_STARTS_A_GRACE * longest_start_s(recent), lives_s / 2)
    return max(settings.hand_over_lead_s, needed_s)


def _failures_in_a_row(recent: Sequence[ConsumerRow]) -> int:
    failures = 0
    for consumer in recent:
        if consumer.state != "failed":
            break
        failures += 1
        if (consumer.heartbeat_at_us - consumer.started_at_us) / 1e6 >= _WORKED_S:
            break
    return failures


def _end_text(consumer: ConsumerRow, condition: RunCondition, now_us: int) -> str:
    run = f"run {consumer.run_id[:8]}"
    silent = _silence(consumer, now_us)
    match condition:
        case RunCondition.GONE:
            return f"{run} died: its process is gone, {silent}"
        case RunCondition.HUNG:
            return f"{run} hangs: its process runs, {silent}"
        case RunCondition.SILENT:
            return f"{run} died: {silent}"
    if consumer.state != "failed":
        return f"{run} {consumer.state}"
    errors = "; ".join(consumer.statistics.trouble)
    return f"{run} failed: {silent}; its last error: {errors}" if errors else f"{run} failed: {silent}"


def _ago(waited_s: float) -> str:
    return f"{waited_s:.0f} s ago" if math.isfinite(waited_s) else "before the clock was set back"


def _silence(consumer: ConsumerRow, now_us: int) -> str:
    silent_s = elapsed_s(consumer.heartbeat_at_us, now_us)
    if math.isinf(silent_s):
        return "no heartbeat since the clock was set back"
    return f"no heartbeat for {silent_s:.1f} s"


def _left_alone_text(
    consumer: ConsumerRow, condition: RunCondition, now_us: int, settings: Settings, lives: Lives
) -> str:
    if condition is not RunCondition.ALIVE:
        return _quiet_text(consumer, now_us, Patience.from_settings(settings), lives)
    text = (
        f"run {consumer.run_id[:8]} alive, heartbeat {elapsed_s(consumer.heartbeat_at_us, now_us):.1f} s ago,"
        f" lag {consumer.lag_ms:.0f} ms, {consumer.rate:.0f} records/s"
    )
    trouble = consumer.statistics.trouble
    return f"{text}; TROUBLE: {'; '.join(trouble)}" if trouble else text


def _quiet_text(consumer: ConsumerRow, now_us: int, patience: Patience, lives: Lives) -> str:
    silent = f"run {consumer.run_id[:8]}: {_silence(consumer, now_us)}"
    if lives.get(consumer.run_id) is Life.LIVES:
        return f"{silent}, but its process runs: it counts as hung after {patience.hung_s:.0f} s"
    return (
        f"{silent}, and nobody can say whether its process runs:"
        f" it counts as dead after {patience.unknown_s(start_s(consumer)):.0f} s, as starts take {start_s(consumer) or 0.0:.0f} s"
    )
