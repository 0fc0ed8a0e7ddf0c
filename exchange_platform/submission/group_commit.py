"""Gathers requests that come at the same time into one transaction and one put. Not here: deciding
(acceptance.py), putting (order_publishing.py).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from functools import partial

from exchange_platform.domain.actors import THIS_PROCESS, Actor
from exchange_platform.domain.bet_requests import Answer, BetRequest
from exchange_platform.domain.refusals import Refused
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.stores.checkpoints import Contended, StoreUnavailable
from exchange_platform.stores.operational.bets.order_outbox import OutboxOrder, mark_published
from exchange_platform.stores.operational.database import Database
from exchange_platform.submission.acceptance import Acceptance, Outcome
from exchange_platform.submission.order_publishing import OrderPublishing, OrdersPublisher

log = logging.getLogger(__name__)

MAX_PER_GROUP = 200
MARK_AFTER_S = 0.02
"""So long published orders wait to be marked in the next group's transaction, before they get one of their
own.
"""
_TRIES, _RETRY_AFTER_S = 6, 0.02
_PUT_WAIT_S = 1.0


class _Ticket:
    """One request that waits. `outcome` is set once its transaction is committed, `done` once its order is in
    the stream or left to a relay.
    """

    __slots__ = ("actor", "done", "failure", "outcome", "request")

    def __init__(self, request: BetRequest, actor: Actor) -> None:
        self.request = request
        self.actor = actor
        self.outcome: Outcome | None = None
        self.failure: Exception | None = None
        self.done = threading.Event()


class GroupCommit:
    """Decides requests in groups: whatever waits when the group before is committed, in the order in which it
    came.
    """

    def __init__(
        self,
        database: Database,
        acceptance: Acceptance,
        publisher: OrdersPublisher,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._database = database
        self._acceptance = acceptance
        self._clock = clock
        self._publishing = OrderPublishing(publisher, published=self._note_published, clock=clock)
        self._wake = threading.Condition()
        self._waiting: list[_Ticket] = []
        self._to_mark: list[str] = []
        self._ending = False
        self._never = threading.Event()
        self._thread = threading.Thread(target=self._run, name="submissions", daemon=True)

    def start(self) -> None:
        """Begin to decide."""
        self._publishing.start()
        self._thread.start()

    def ask(self, request: BetRequest, actor: Actor = THIS_PROCESS) -> Answer:
        """Decide a request of the actor's, with whatever else waits; returns once it is committed and its
        order is in the stream, or left to a relay.

        Raises `Refused`; `StoreUnavailable` where it is not known whether it was decided.
        """
        ticket = _Ticket(request, actor)
        with self._wake:
            if self._ending:
                raise RuntimeError("submission has ended")
            self._waiting.append(ticket)
            self._wake.notify()
        while not ticket.done.wait(_PUT_WAIT_S):
            if ticket.outcome is not None:
                break  # committed; a put that takes so long is a relay's concern
            if not self._thread.is_alive():
                raise RuntimeError("submission has ended; whether this was decided is not known")
        if ticket.failure is not None:
            raise ticket.failure
        outcome = ticket.outcome
        assert outcome is not None
        if isinstance(outcome, Refused):
            raise outcome
        return outcome

    @property
    def waiting(self) -> int:
        """Requests that wait for the group before theirs."""
        return len(self._waiting)

    def close(self) -> None:
        """Decide and publish what waits, and end."""
        with self._wake:
            self._ending = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join(30)
        self._publishing.close()
        self._mark()

    def _run(self) -> None:
        while True:
            group = self._next_group()
            if group is None:
                return
            if group:
                self._decide(group)
            else:
                self._mark()

    def _next_group(self) -> list[_Ticket] | None:
        """What waits; empty if only marks do; None at the end."""
        with self._wake:
            while not self._waiting:
                if self._ending:
                    return None
                woken = self._wake.wait(MARK_AFTER_S if self._to_mark else None)
                if not woken and self._to_mark and not self._waiting:
                    return []
            group, self._waiting = self._waiting[:MAX_PER_GROUP], self._waiting[MAX_PER_GROUP:]
        return group

    def _decide(self, group: Sequence[_Ticket]) -> None:
        try:
            orders = self._commit(group)
        except StoreUnavailable as error:
            self._fail(group, error)
        except Exception as error:
            if len(group) == 1:
                log.exception("a request could not be decided")
                self._fail(group, error)
                return
            log.exception("a group could not be decided; its requests are, one by one")
            for ticket in group:
                self._decide([ticket])
        else:
            self._publish(group, orders)

    def _commit(self, group: Sequence[_Ticket]) -> Sequence[OutboxOrder]:
        requests = [ticket.request for ticket in group]
        actors = [ticket.actor for ticket in group]
        marks = self._take_marks()
        try:
            for attempt in range(1, _TRIES + 1):
                try:
                    now_us = self._clock.now_us()
                    with self._database.write() as connection:
                        decided = self._acceptance.decide(connection, requests, now_us, actors)
                        mark_published(connection, marks, now_us)
                    break
                except Contended:
                    if attempt == _TRIES:
                        raise
                    self._clock.wait(self._never, _RETRY_AFTER_S * attempt)
        except BaseException:
            self._note_published(marks)
            raise
        for ticket, outcome in zip(group, decided.outcomes, strict=True):
            ticket.outcome = outcome
        return decided.orders

    def _publish(self, group: Sequence[_Ticket], orders: Sequence[OutboxOrder]) -> None:
        waiting = []
        for ticket in group:
            if isinstance(ticket.outcome, Refused) or not orders:
                ticket.done.set()
            else:
                waiting.append(ticket)
        if orders:
            self._publishing.offer(orders, partial(_answer, waiting))

    def _fail(self, group: Sequence[_Ticket], error: Exception) -> None:
        for ticket in group:
            ticket.failure = error
            ticket.done.set()

    def _note_published(self, order_ids: Sequence[str]) -> None:
        if order_ids:
            with self._wake:
                self._to_mark.extend(order_ids)
                self._wake.notify()

    def _take_marks(self) -> list[str]:
        with self._wake:
            marks, self._to_mark = self._to_mark, []
        return marks

    def _mark(self) -> None:
        marks = self._take_marks()
        if not marks:
            return
        try:
            with self._database.write() as connection:
                mark_published(connection, marks, self._clock.now_us())
        except StoreUnavailable as error:
            log.warning(
                "%d published orders are not marked so; a relay will publish them again: %s",
                len(marks),
                error,
            )


def _answer(tickets: Sequence[_Ticket]) -> None:
    for ticket in tickets:
        ticket.done.set()
