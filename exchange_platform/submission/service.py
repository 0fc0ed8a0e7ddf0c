"""`BetSubmission`: what applications call to place, cancel, replace and read bets. Not here: what decides
(acceptance.py), the wallet (wallets/wallets.py).

Requests that come at the same time share a transaction and a put: one thread decides and commits whatever
waits, another puts what was committed into the stream, meanwhile the first commits the next. A caller waits
for both.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Self

from exchange_platform.domain import bet_rules
from exchange_platform.domain.actors import Actor, own_process
from exchange_platform.domain.bet_ids import DrawId, draw_id
from exchange_platform.domain.bet_requests import (
    Answer,
    BetOrder,
    BetPage,
    BetRequest,
    CancelBet,
    Cancellation,
    ReplaceBet,
    Submission,
)
from exchange_platform.domain.bets import Bet, BetStatus
from exchange_platform.domain.refusals import Invalid, RefusalCode, Unknown
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.bets.reading import read_bet, read_bets
from exchange_platform.stores.operational.database import Database
from exchange_platform.submission.acceptance import Acceptance
from exchange_platform.submission.group_commit import GroupCommit
from exchange_platform.submission.order_publishing import OrderRelay, OrdersPublisher, orders_publisher

MAX_PER_PAGE = 200


class BetSubmission:
    """Places, cancels, replaces and reads bets. Thread-safe: share one among all threads of a process, and
    close it at the end.

    When `submit`, `cancel` or `replace` returns, what was asked is durable: decided and committed to the
    operational database together with the order to the exchange, and the order put into the stream (while the
    stream is away, it goes out within two seconds of its return: by this process's relay or any other's).
    What the exchange makes of it, the bet's next versions tell.

    Everything refused raises a `Refused` (domain/refusals.py: `Invalid`, `Unknown`, `Forbidden`, `NotNow`,
    `InsufficientFunds`, `Conflict`) and changes nothing. `StoreUnavailable` means that the outcome is not
    known: ask again with the same submission id.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        database: Database | None = None,
        publisher: OrdersPublisher | None = None,
        clock: Clock = SYSTEM_CLOCK,
        draw: DrawId = draw_id,
        application: str | None = None,
    ) -> None:
        """Nothing is opened before the first request, or `start`. A `database` that is given stays its
        owner's to dispose of; it must be durable.

        `application` is the name that is written beside what is asked for; without it the program's. Raises
        `InvalidActor` for what is no name.
        """
        self._actor = own_process(application)
        self._settings = settings
        self._clock = clock
        self._draw = draw
        self._database = database or Database(settings.operational_database_url, durable=True)
        self._owns_database = database is None
        self._publisher = publisher
        self._lock = threading.Lock()
        self._parts: _Parts | None = None
        self._closed = False

    def submit(self, order: BetOrder, *, actor: Actor | None = None) -> Submission:
        """Place a bet; the answer holds it as `PENDING`, its exposure reserved.

        The same `submission_id` of the same account with the same content returns the first answer, for ever,
        whatever the market or the account has become; with other content it is refused. A refused order
        leaves no trace: its id can be used again. `actor` is who asks, where it is not this process itself;
        what another application was answered is not shown to one that comes by a token.
        """
        bet_rules.check_order(order, self._settings.minimum_stakes_minor)
        answer = self._ask(order, actor)
        assert isinstance(answer, Submission)
        return answer

    def cancel(
        self,
        account_id: str,
        bet_id: str,
        size_minor: int | None = None,
        *,
        request_id: str | None = None,
        actor: Actor | None = None,
    ) -> Cancellation:
        """Ask for a bet's unmatched remainder, or `size_minor` of it, to be taken out.

        What is matched before the exchange gets to it stays matched. Asking twice for all of it is harmless;
        for a part, give a `request_id`, which makes a repeat return the first answer. A bet that is still
        `PENDING` can be cancelled: the orders keep their order.
        """
        request = CancelBet(
            account_id=account_id, bet_id=bet_id, size_minor=size_minor, request_id=request_id
        )
        bet_rules.check_cancel(request)
        answer = self._ask(request, actor)
        assert isinstance(answer, Cancellation)
        return answer

    def replace(
        self,
        account_id: str,
        bet_id: str,
        odds: Decimal,
        *,
        request_id: str | None = None,
        actor: Actor | None = None,
    ) -> Submission:
        """Ask for the unmatched remainder of an `OPEN` bet to be placed at other odds instead; the answer
        holds the new bet as `PENDING`.

        Both or neither: if nothing rests any more when the exchange gets to it, the new bet is `REJECTED` and
        the old one stays as it is. Until then the two count once, at the worse of their odds. A `request_id`
        makes a repeat return the first answer.
        """
        request = ReplaceBet(account_id=account_id, bet_id=bet_id, odds=odds, request_id=request_id)
        bet_rules.check_replace(request)
        answer = self._ask(request, actor)
        assert isinstance(answer, Submission)
        return answer

    def bet(self, account_id: str, bet_id: str) -> Bet:
        """The account's bet as it is now. Raises `Unknown` for one that is not the account's."""
        bet_rules.check_id(RefusalCode.INVALID_ACCOUNT_ID, "account_id", account_id)
        bet_rules.check_id(RefusalCode.INVALID_BET_ID, "bet_id", bet_id)
        return bet_rules.check_own_bet(read_bet(self._database, bet_id), account_id, bet_id)

    def bets(
        self,
        account_id: str,
        *,
        after: str | None = None,
        limit: int = 50,
        statuses: Sequence[BetStatus] = (),
    ) -> BetPage:
        """The account's bets, newest first, those with one of the statuses if any are given; at most `limit`,
        1 to 200.

        `after` is a page's own, to get the next. Bets placed meanwhile do not shift the pages. Raises
        `Unknown` for no account.
        """
        bet_rules.check_id(RefusalCode.INVALID_ACCOUNT_ID, "account_id", account_id)
        if not isinstance(limit, int) or not 1 <= limit <= MAX_PER_PAGE:
            raise Invalid(RefusalCode.INVALID_PAGE, "limit", limit, f"1 to {MAX_PER_PAGE} are allowed")
        page = read_bets(self._database, account_id, after=after, limit=limit, statuses=statuses)
        if page is None:
            raise Unknown(RefusalCode.UNKNOWN_ACCOUNT, "account_id", account_id, "there is no such account")
        return page

    @property
    def waiting(self) -> int:
        """Requests that wait for the transaction before theirs: grows where the database does not keep up."""
        return self._parts.groups.waiting if self._parts is not None else 0

    @property
    def last_error(self) -> str:
        """Why orders wait in the outbox; empty if they do not."""
        return self._parts.relay.last_error if self._parts is not None else ""

    def start(self) -> None:
        """Begin now what the first request would: above all the relay, which also publishes what other
        processes left.
        """
        self._running()

    def close(self) -> None:
        """Answer what was asked, publish it, and end. Requests after that raise `RuntimeError`."""
        with self._lock:
            self._closed = True
            parts, self._parts = self._parts, None
        if parts is not None:
            parts.relay.close()
            parts.groups.close()
        if self._owns_database:
            self._database.dispose()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: BetRequest, actor: Actor | None) -> Answer:
        return self._running().groups.ask(request, actor or self._actor)

    def _running(self) -> _Parts:
        parts = self._parts
        if parts is not None:
            return parts
        with self._lock:
            if self._closed:
                raise RuntimeError("this BetSubmission is closed")
            if self._parts is None:
                publisher = self._publisher or orders_publisher(self._settings, clock=self._clock)
                groups = GroupCommit(
                    self._database,
                    Acceptance(self._settings.minimum_stakes_minor, draw=self._draw),
                    publisher,
                    clock=self._clock,
                )
                relay = OrderRelay(self._database, publisher, clock=self._clock)
                groups.start()
                relay.start()
                self._parts = _Parts(groups, relay)
            return self._parts


@dataclass(frozen=True, slots=True)
class _Parts:
    groups: GroupCommit
    relay: OrderRelay
