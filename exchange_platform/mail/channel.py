"""The mail channel: collect, render, send, mark, over several connections, within a rate. Not here: which
mails there are (a `Queue`), or the senders.

Each connection has one mail under way: it sends it, has its acceptance marked, and only then takes another.
So a crash can mail again at most one mail a connection: one that the server had accepted and whose mark was
not committed yet. Marks that are ready together share a transaction.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

from exchange_platform.delivery.delivery import Figures, Lease
from exchange_platform.mail.message import OutgoingMail
from exchange_platform.mail.rates import SendingRate
from exchange_platform.mail.refusals import RefusedInARow
from exchange_platform.mail.sender import (
    MessageRefused,
    RecipientRefused,
    Sender,
    SenderUnavailable,
    TryAgain,
)
from exchange_platform.process.back_off import BackOff
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.mails.mails import MAIL, MailOutcome, MailState, WaitingMail

log = logging.getLogger(__name__)

_POLL_S = 0.1
_UNDER_WAY_A_CONNECTION = 8
_COUNT_EVERY_S = 1.0
_PAUSES = BackOff(first_s=1.0, max_s=60.0)
"""While no mail can be sent at all."""
_RETRY_FACTOR, _RETRY_MAX_S = 4.0, 3600.0
_MARK_AGAIN_S = 0.2


@dataclass(frozen=True, slots=True)
class Skip:
    """What `render` makes of a mail that is not to be sent after all; the reason is kept.

    With `as_refused` its account becomes undeliverable for this reason, as if the mail had been sent and
    refused.
    """

    reason: str
    as_refused: bool = False


@dataclass(frozen=True, slots=True)
class Unrenderable:
    """What `render` makes of a mail that can't be rendered: a dead letter with this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How many mails wait to be sent, and when (wall-clock) the oldest of those that should have left was
    due.
    """

    waiting: int
    oldest_due_at_us: int | None = None


class Queue(Protocol):
    """Where a channel's mails come from, and where their outcome is marked. Called from one thread at a time,
    but `mark`.

    Every method but `render` may raise `StoreUnavailable`; `claim`, `collect` and `mark` raise `Superseded`
    once a newer epoch has claimed.
    """

    def claim(self, epoch: int) -> None:
        """Make the marks this epoch's alone."""
        ...

    def collect(self, limit: int, under_way: Collection[str]) -> Sequence[WaitingMail]:
        """Mails to send now, but those under way (by `mail_id`); of mails that must keep an order, the first
        alone.
        """
        ...

    def render(self, mails: Sequence[WaitingMail]) -> Sequence[OutgoingMail | Skip | Unrenderable]:
        """What each of them says, in their order. Raises `StoreUnavailable`."""
        ...

    def mark(self, outcomes: Sequence[MailOutcome]) -> None:
        """Mark what became of mails; durable on return."""
        ...

    def standing(self) -> Standing:
        """How many wait."""
        ...


class MailChannel:
    """One source's mails on their way out: a `Channel` of a `DeliveryRun`."""

    name = MAIL

    def __init__(
        self,
        queue: Queue,
        open_sender: Callable[[], Sender],
        *,
        connections: int,
        rate_per_s: float,
        retry_first_s: float,
        give_up_s: float,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._queue = queue
        self._open_sender = open_sender
        self._retries = BackOff(retry_first_s, max(_RETRY_MAX_S, retry_first_s), factor=_RETRY_FACTOR)
        self._give_up_s = give_up_s
        self._clock = clock
        self._rate = SendingRate(rate_per_s, clock=clock)
        self._most = connections * _UNDER_WAY_A_CONNECTION
        self._jobs: SimpleQueue[tuple[WaitingMail, OutgoingMail] | None] = SimpleQueue()
        self._under_way: set[str] = set()
        self._lock = threading.Lock()
        self._freed = threading.Event()
        self._given_up = threading.Event()
        self._marks = _Marks(self._marked)
        self._senders = [
            threading.Thread(target=self._send_all, name=f"mail-{number}", daemon=True)
            for number in range(connections)
        ]
        self._lease: Lease | None = None
        self._failure: BaseException | None = None
        self._refused = RefusedInARow()
        self._unavailable = ""
        self._pauses = 0
        self._paused_until_s = 0.0
        self._counts: Counter[str] = Counter()
        self._lags_ms: deque[float] = deque(maxlen=1000)
        self._standing = Standing(0)
        self._counted_at_s = float("-inf")

    # What the run calls.

    def claim(self, epoch: int) -> None:
        """Claim the queue."""
        self._queue.claim(epoch)

    def work(self, lease: Lease) -> float:
        """Collect and render what is due, and hand it to the connections."""
        if self._lease is None:
            self._lease = lease
            for thread in self._senders:
                thread.start()
        if self._failure is not None:
            raise self._failure
        self._count()
        now_s = self._clock.monotonic_s()
        if now_s < self._paused_until_s:
            return min(_COUNT_EVERY_S, self._paused_until_s - now_s)
        self._freed.clear()
        with self._lock:
            under_way = frozenset(self._under_way)
        room = self._most - len(under_way)
        if room < self._most // 2 or not lease.holds():
            self._clock.wait(self._freed, _POLL_S)
            return 0.0
        mails = self._queue.collect(room, under_way)
        self._send(mails)
        return 0.0 if len(mails) == room else _POLL_S

    def drain(self, timeout_s: float) -> None:
        """Let each connection finish the mail that it is sending; raises what went wrong meanwhile."""
        if self._lease is None:
            return
        for _ in self._senders:
            self._jobs.put(None)
        until_s = self._clock.monotonic_s() + timeout_s
        for thread in self._senders:
            thread.join(max(0.0, until_s - self._clock.monotonic_s()))
        self._given_up.set()
        if self._failure is not None:
            raise self._failure

    def figures(self) -> Figures:
        """Counts since the run began, and how things stand."""
        oldest = self._standing.oldest_due_at_us
        lags = sorted(self._lags_ms)
        return {
            "delivered": self._counts["sent"],
            "sent": self._counts["sent"],
            "failed": self._counts["dead"],
            "tried_again": self._counts["waiting"],
            "skipped": self._counts["skipped"],
            "waiting": self._standing.waiting,
            "oldest_waiting_s": round(max(0, self._clock.now_us() - oldest) / 1e6, 3) if oldest else 0.0,
            "lag_ms": round(lags[len(lags) // 2], 1) if lags else 0.0,
            "lag_p99_ms": round(lags[int(0.99 * len(lags))], 1) if lags else 0.0,
        }

    def last_error(self) -> str | None:
        """Why no mail can be sent now."""
        return self._unavailable or None

    def close(self) -> None:
        """The connections are closed by their threads."""

    # Collecting and rendering, in the run's thread.

    def _count(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._counted_at_s >= _COUNT_EVERY_S:
            self._standing = self._queue.standing()
            self._counted_at_s = now_s

    def _send(self, mails: Sequence[WaitingMail]) -> None:
        if not mails:
            return
        unsent: list[MailOutcome] = []
        for mail, rendered in zip(mails, self._queue.render(mails), strict=True):
            match rendered:
                case Skip(reason, as_refused):
                    unsent.append(MailOutcome(mail, MailState.SKIPPED, reason, recipient_refused=as_refused))
                case Unrenderable(reason):
                    unsent.append(MailOutcome(mail, MailState.DEAD, reason, stage="render"))
                case _:
                    with self._lock:
                        self._under_way.add(mail.mail_id)
                    self._jobs.put((mail, rendered))
        if unsent:
            self._queue.mark(unsent)
            self._counted(unsent)

    # Sending and marking, in each connection's thread.

    def _send_all(self) -> None:
        sender = self._open_sender()
        try:
            while (job := self._jobs.get()) is not None:
                mail, outgoing = job
                try:
                    outcome = self._fate(sender, mail, outgoing)
                    if outcome is not None:
                        self._marks.add(outcome)
                except BaseException as error:
                    self._failure = self._failure or error
                finally:
                    with self._lock:
                        self._under_way.discard(mail.mail_id)
                    self._freed.set()
        finally:
            sender.close()

    def _fate(self, sender: Sender, mail: WaitingMail, outgoing: OutgoingMail) -> MailOutcome | None:
        """Send one mail; None where that was not tried, or no mail can be sent now."""
        lease = self._lease
        assert lease is not None
        if self._failure is not None or self._clock.monotonic_s() < self._paused_until_s:
            return None
        if not self._rate.take(lease.ending) or not lease.holds():
            return None
        try:
            sender.send(outgoing)
        except SenderUnavailable as error:
            self._pause(str(error))
            return None
        except RecipientRefused as error:
            outcome = MailOutcome(mail, MailState.DEAD, str(error), recipient_refused=True)
        except MessageRefused as error:
            if wrong := self._refused.blames_none(str(error)):
                self._pause(wrong)
                return None
            outcome = MailOutcome(mail, MailState.DEAD, str(error))
        except TryAgain as error:
            outcome = self._later(mail, str(error))
        except Exception as error:  # a fault of ours must not stop the other mails
            log.exception("mail %s", mail.mail_id)
            reason = f"{type(error).__name__}: {error}"
            if wrong := self._refused.blames_none(reason):
                self._pause(wrong)
                return None
            outcome = self._later(mail, reason)
        else:
            self._refused.taken()
            outcome = MailOutcome(mail, MailState.SENT)
        self._unavailable, self._pauses = "", 0
        return outcome

    def _later(self, mail: WaitingMail, reason: str) -> MailOutcome:
        """When to try again: after longer and longer pauses, until the mail has waited too long."""
        now_us = self._clock.now_us()
        pause_s = self._retries.pause_s(mail.attempts + 1)
        again_at_us = now_us + int(pause_s * 1e6)
        if again_at_us - mail.queued_at_us > self._give_up_s * 1e6:
            return MailOutcome(mail, MailState.DEAD, f"given up after {mail.attempts + 1} tries: {reason}")
        return MailOutcome(mail, MailState.WAITING, reason, due_at_us=again_at_us)

    def _pause(self, why: str) -> None:
        with self._lock:
            now_s = self._clock.monotonic_s()
            if now_s >= self._paused_until_s:
                log.warning("mail can't be sent now: %s", why)
                self._pauses += 1
                self._paused_until_s = now_s + _PAUSES.pause_s(self._pauses)
            self._unavailable = why

    def _marked(self, outcomes: Sequence[MailOutcome]) -> None:
        """Mark, however long the store is away: what was accepted is not sent again for that. Until the run
        gives up.
        """
        while True:
            try:
                self._queue.mark(outcomes)
                break
            except StoreUnavailable as error:
                log.warning("%d mails are not marked yet: %s", len(outcomes), error)
                if self._clock.wait(self._given_up, _MARK_AGAIN_S):
                    raise
        self._counted(outcomes)

    def _counted(self, outcomes: Sequence[MailOutcome]) -> None:
        now_us = self._clock.now_us()
        with self._lock:
            for outcome in outcomes:
                self._counts[outcome.state.value] += 1
                if outcome.state is MailState.SENT:
                    self._lags_ms.append((now_us - outcome.mail.due_at_us) / 1000)


class _Marks:
    """Commits marks one transaction after another; those that are added while one is committed share the
    next.
    """

    def __init__(self, commit: Callable[[Sequence[MailOutcome]], None]) -> None:
        self._commit = commit
        self._adding = threading.Lock()
        self._committing = threading.Lock()
        self._waiting: list[tuple[MailOutcome, list[BaseException]]] = []

    def add(self, outcome: MailOutcome) -> None:
        """Mark; committed on return. Raises what kept it from being committed."""
        problems: list[BaseException] = []
        with self._adding:
            self._waiting.append((outcome, problems))
        with self._committing:
            with self._adding:
                batch, self._waiting = self._waiting, []
            if batch:  # else the one before us has committed it
                try:
                    self._commit([waiting for waiting, _ in batch])
                except BaseException as error:
                    for _, theirs in batch:
                        theirs.append(error)
        if problems:
            raise problems[0]
