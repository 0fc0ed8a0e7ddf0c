"""Whether a source needs a new consumer run, decided from what its consumers say of themselves. Pure; no I/O, no Dagster.

Not here: who asks (sensors/) or how a run is started.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from exchange_platform.back_off import BackOff
from exchange_platform.settings import Settings
from exchange_platform.stores.consumers import ConsumerRow

MOST_GRACE_S = 120.0
"""`run_start_s` is doubled with each attempt, up to this, or itself if that is more."""
AFTER_FAILURES = BackOff(first_s=5.0, max_s=300.0)
"""How long the next request waits after runs that failed in a row."""


class Requests(msgspec.Struct, frozen=True):
    """What a supervisor remembers between looks: the requests for a successor of one epoch."""

    after_epoch: int = -1
    attempts: int = 0
    requested_at_us: int = 0


class AllRequests(msgspec.Struct, frozen=True):
    """What a supervisor remembers of each consumer that it keeps alive, by name."""

    consumers: dict[str, Requests] = {}

    @classmethod
    def from_text(cls, text: str | None) -> AllRequests:
        """Read what `to_text` wrote; anything else is forgotten."""
        try:
            return msgspec.json.decode(text or "{}", type=cls)
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


@dataclass(frozen=True, slots=True)
class Decision:
    """Start a run under `run_key`, or (None) leave things as they are; and why, in numbers."""

    reason: str
    requests: Requests
    run_key: str | None = None


def decide(
    source: str, recent: Sequence[ConsumerRow], requests: Requests, *, now_us: int, settings: Settings
) -> Decision:
    """Decide about one source, or one share of it. `recent` are its newest consumers, newest first.

    A run is requested when there is no live consumer, when the live one nears its end, or when it died. A request for a successor of the
    same epoch is repeated only after a grace; after failures in a row the next request waits, exponentially longer.
    """
    newest = recent[0] if recent else None
    epoch = newest.epoch if newest is not None else 0
    if newest is not None and _is_alive(newest, now_us, settings):
        left_s = (newest.ends_at_us - now_us) / 1e6
        if left_s > settings.hand_over_lead_s:
            return Decision(_alive_text(newest, now_us), Requests())
        need = f"run {newest.run_id[:8]} ends in {max(0.0, left_s):.0f} s: its successor is requested"
    elif newest is None:
        need = "no consumer yet"
    elif newest.state in ("running", "failed"):
        silent_s = (now_us - newest.heartbeat_at_us) / 1e6
        what = "failed" if newest.state == "failed" else "died"
        need = f"run {newest.run_id[:8]} {what}: no heartbeat for {silent_s:.1f} s"
    else:
        need = f"run {newest.run_id[:8]} {newest.state}"

    failures = _failures_in_a_row(recent)
    if failures and newest is not None:
        wait_s = AFTER_FAILURES.pause_s(failures)
        waited_s = (now_us - newest.heartbeat_at_us) / 1e6
        if waited_s < wait_s:
            return Decision(
                f"{need}; {failures} failures in a row, next try in {wait_s - waited_s:.0f} s", requests
            )
    mine = requests if requests.after_epoch == epoch else Requests(after_epoch=epoch)
    if mine.attempts:
        grace = BackOff(settings.run_start_s, max(MOST_GRACE_S, settings.run_start_s))
        grace_s = grace.pause_s(mine.attempts)
        waited_s = (now_us - mine.requested_at_us) / 1e6
        if waited_s < grace_s:
            return Decision(f"{need}; requested {waited_s:.0f} s ago (attempt {mine.attempts})", mine)
    mine = _once_more(mine, now_us)
    return Decision(
        f"{need}; after epoch {epoch}, attempt {mine.attempts}",
        mine,
        run_key=f"{source}/{epoch + 1}/{mine.attempts}/{now_us // 1_000_000}",
    )


def abandoned(
    recent: Sequence[ConsumerRow], requests: Requests, *, now_us: int, settings: Settings
) -> list[str]:
    """The ids of runs whose processes are gone, though whoever keeps the runs may believe that they go on and hold a place for them.

    A consumer is, that says nothing and has a successor, or whose successor was requested more than once and never came, for want of a place.
    Should it live after all, no harm is done: it writes until a successor has begun, whose epoch is higher, and nothing after that.
    """
    asked_again = requests.attempts > 1
    return [
        consumer.run_id
        for number, consumer in enumerate(recent)
        if consumer.state == "running"
        and (number > 0 or asked_again)
        and (now_us - consumer.heartbeat_at_us) / 1e6 >= settings.run_start_s
    ]


def _once_more(requests: Requests, now_us: int) -> Requests:
    """One more attempt, made now."""
    return msgspec.structs.replace(requests, attempts=requests.attempts + 1, requested_at_us=now_us)


def is_alive(consumer: ConsumerRow | None, now_us: int, settings: Settings) -> bool:
    """Whether the consumer runs and has said so lately."""
    return consumer is not None and _is_alive(consumer, now_us, settings)


def _is_alive(consumer: ConsumerRow, now_us: int, settings: Settings) -> bool:
    silent_s = (now_us - consumer.heartbeat_at_us) / 1e6
    return consumer.state == "running" and silent_s < settings.stale_heartbeat_s


def _failures_in_a_row(recent: Sequence[ConsumerRow]) -> int:
    failures = 0
    for consumer in recent:
        if consumer.state != "failed":
            break
        failures += 1
    return failures


def _alive_text(consumer: ConsumerRow, now_us: int) -> str:
    text = (
        f"run {consumer.run_id[:8]} alive, heartbeat {(now_us - consumer.heartbeat_at_us) / 1e6:.1f} s ago,"
        f" lag {consumer.lag_ms:.0f} ms, {consumer.rate:.0f} records/s"
    )
    trouble = consumer.statistics.get("trouble")
    return f"{text}; TROUBLE: {'; '.join(trouble)}" if trouble else text
