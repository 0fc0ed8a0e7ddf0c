"""Deciding about a group of bets, cancellations and replacements in one transaction. Not here: the rules that
need no money (bet_rules.py), gathering groups and publishing their orders (service.py, order_publishing.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import sqlalchemy as sa

from exchange_platform.domain import bet_rules
from exchange_platform.domain.actors import THIS_PROCESS, Actor
from exchange_platform.domain.bet_ids import DrawId, draw_id
from exchange_platform.domain.bet_requests import (
    Answer,
    BetOrder,
    BetRequest,
    CancelBet,
    Cancellation,
    ReplaceBet,
    Submission,
    caller_id,
    content_sha256,
    decode_answer,
    encode_answer,
)
from exchange_platform.domain.bet_rules import AccountFacts, MarketFacts
from exchange_platform.domain.bets import Bet, BetStatus, Side
from exchange_platform.domain.money import major
from exchange_platform.domain.odds import MAX_ODDS, MIN_ODDS
from exchange_platform.domain.orders import CancelOrder, Order, PlaceOrder, ReplaceOrder
from exchange_platform.domain.refusals import (
    Conflict,
    Forbidden,
    InsufficientFunds,
    NotNow,
    RefusalCode,
    Refused,
)
from exchange_platform.stores.operational.bets.bets import BetFold
from exchange_platform.stores.operational.bets.order_outbox import OutboxOrder, unpublished_of, write_orders
from exchange_platform.stores.operational.bets.rows import decimal_text
from exchange_platform.stores.operational.bets.submissions import (
    KnownSubmission,
    NewSubmission,
    account_facts,
    known_submissions,
    market_facts,
    markets_of_bets,
    note_changed_profiles,
    write_submissions,
)
from exchange_platform.stores.operational.database import from_us

Outcome = Answer | Refused


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of a group: an outcome a request, and the orders to publish, in this order, once the
    transaction is committed.
    """

    outcomes: Sequence[Outcome]
    orders: Sequence[OutboxOrder]


class Acceptance:
    """Decides about groups of requests whose form was checked.

    One transaction holds, of each accepted bet: the bet as `PENDING`, with its position, exposure, ledger
    entry and profile, the submission under the caller's id, and the order to the exchange. Requests are
    decided in order, each seeing what those before it took; a refused one leaves nothing. Two groups that
    concern one account follow each other: SQLite has one writer, on MySQL the profile is locked.
    """

    def __init__(self, minimum_stakes_minor: Mapping[str, int], *, draw: DrawId = draw_id) -> None:
        self._minimum_stakes_minor = minimum_stakes_minor
        self._draw = draw

    def decide(
        self,
        connection: sa.Connection,
        requests: Sequence[BetRequest],
        now_us: int,
        actors: Sequence[Actor] = (),
    ) -> Decided:
        """Decide, and write what follows, in the caller's transaction. `actors` are who asks for each;
        without them this process does.
        """
        group = _Group(connection, requests, now_us, self._minimum_stakes_minor, self._draw)
        outcomes: list[Outcome] = []
        for request, actor in zip(requests, actors or [THIS_PROCESS] * len(requests), strict=True):
            try:
                outcomes.append(group.decide(request, actor))
            except Refused as refusal:
                outcomes.append(refusal)
        return Decided(outcomes, group.write())


class _Group:
    """One group while it is decided."""

    def __init__(
        self,
        connection: sa.Connection,
        requests: Sequence[BetRequest],
        now_us: int,
        minimum_stakes_minor: Mapping[str, int],
        draw: DrawId,
    ) -> None:
        self._connection = connection
        self._now_us = now_us
        self._now = from_us(now_us)
        self._minimum_stakes_minor = minimum_stakes_minor
        self._draw = draw
        self._accounts = account_facts(connection, (one.account_id for one in requests), now_us)
        orders = [one for one in requests if isinstance(one, BetOrder)]
        touched = [one.bet_id for one in requests if not isinstance(one, BetOrder)]
        known = markets_of_bets(connection, touched)
        self._markets = market_facts(
            connection,
            [*(one.market_id for one in orders), *(market_id for market_id, _ in known.values())],
            [*(one.selection_id for one in orders), *(selection_id for _, selection_id in known.values())],
        )
        # From here on nobody else changes what these accounts have.
        self._fold = BetFold(
            connection,
            currencies={account.account_id: account.currency for account in self._accounts.values()},
            markets=sorted(self._markets),
            bet_ids=sorted(known),
        )
        self._submissions = known_submissions(
            connection,
            (
                (one.account_id, submission_id)
                for one in requests
                if (submission_id := caller_id(one)) is not None
            ),
        )
        self._new: list[NewSubmission] = []
        self._orders: list[Order] = []
        self._ordered_by: list[str] = []
        self._causes: dict[str, str] = {}

    def decide(self, request: BetRequest, actor: Actor) -> Answer:
        """The answer. Raises `Refused`, and then nothing of the request is left.

        An answer that another application was given is shown to nobody else who comes by a token: the id is
        used, as by other content.
        """
        submission_id = caller_id(request)
        sha256 = content_sha256(request)
        if submission_id is not None:
            before = self._submissions.get((request.account_id, submission_id))
            if before is not None:
                if before.content_sha256 != sha256 or not _may_see(actor, before):
                    name = "submission_id" if isinstance(request, BetOrder) else "request_id"
                    raise Conflict(
                        RefusalCode.SUBMISSION_CONFLICT,
                        name,
                        submission_id,
                        "the account used this id before, for something else; each new request needs a new one",
                    )
                return decode_answer(before.answer)
        if isinstance(request, BetOrder):
            bet_id, answer = self._place(request, actor)
        elif isinstance(request, CancelBet):
            bet_id, answer = self._cancel(request)
        else:
            bet_id, answer = self._replace(request, actor)
        self._ordered_by.append(actor.application)
        if submission_id is not None:
            text, account_id, name = encode_answer(answer), request.account_id, actor.application
            self._submissions[account_id, submission_id] = KnownSubmission(sha256, text, name)
            self._new.append(NewSubmission(account_id, submission_id, sha256, bet_id, text, name))
        return answer

    def write(self) -> Sequence[OutboxOrder]:
        """Write what was accepted; returns the orders to publish.

        What is not known to be published of a bet that is cancelled or replaced goes out before: another
        process may be about to, or may have died. A repeat does no harm, the wrong order would.
        """
        self._fold.write(self._connection)
        write_submissions(self._connection, self._new, self._now_us)
        note_changed_profiles(self._connection, self._causes)
        touched = [order.bet_id for order in self._orders if not isinstance(order, PlaceOrder)]
        earlier = unpublished_of(self._connection, touched)
        return [*earlier, *write_orders(self._connection, self._orders, self._ordered_by)]

    def _place(self, order: BetOrder, actor: Actor) -> tuple[str, Answer]:
        account = bet_rules.check_account(
            self._accounts.get(order.account_id), order.account_id, self._now_us
        )
        self._check_currency(account, order.currency)
        bet_rules.check_stake_limit(account, order.stake_minor)
        market = bet_rules.check_market(self._markets.get(order.market_id), order.market_id)
        bet_rules.check_market_currency(market, order.currency)
        bet_rules.check_selection(market, order.selection_id, order.handicap)
        bet = self._new_bet(
            account, market, order.selection_id, order.handicap, order.side, order.odds, order.stake_minor
        )
        self._check_funds(bet, None)
        self._fold.place(bet, application=actor.application)
        self._orders.append(
            PlaceOrder(
                order_id=self._draw("o", self._now_us),
                bet_id=bet.bet_id,
                user_id=bet.user_id,
                market_id=bet.market_id,
                ordered_at=self._now,
                version=bet.version,
                event_id=bet.event_id,
                selection_id=bet.selection_id,
                handicap=bet.handicap,
                side=bet.side,
                odds=None if order.odds is None else bet.odds,
                currency=bet.currency,
                stake_minor=bet.stake_minor,
            )
        )
        self._causes[bet.user_id] = bet.bet_id
        return bet.bet_id, Submission(submission_id=order.submission_id, bet=bet, submitted_at=self._now)

    def _cancel(self, request: CancelBet) -> tuple[str, Answer]:
        bet = bet_rules.check_own_bet(self._fold.bet(request.bet_id), request.account_id, request.bet_id)
        bet_rules.check_cancellable(bet, request.size_minor)
        self._orders.append(
            CancelOrder(
                order_id=self._draw("o", self._now_us),
                bet_id=bet.bet_id,
                user_id=bet.user_id,
                market_id=bet.market_id,
                ordered_at=self._now,
                size_minor=request.size_minor,
            )
        )
        return bet.bet_id, Cancellation(
            request_id=request.request_id, bet=bet, size_minor=request.size_minor, requested_at=self._now
        )

    def _replace(self, request: ReplaceBet, actor: Actor) -> tuple[str, Answer]:
        old = bet_rules.check_own_bet(self._fold.bet(request.bet_id), request.account_id, request.bet_id)
        account = bet_rules.check_account(
            self._accounts.get(request.account_id), request.account_id, self._now_us
        )
        bet_rules.check_replaceable(old, request.odds)
        if self._fold.is_being_replaced(old.bet_id):
            raise NotNow(
                RefusalCode.BEING_REPLACED,
                "bet_id",
                old.bet_id,
                "the bet is being replaced; the bet that replaces it can be changed once it is OPEN",
            )
        market = bet_rules.check_market(self._markets.get(old.market_id), old.market_id)
        bet_rules.check_selection(market, old.selection_id, old.handicap)
        bet_rules.check_least_stake(old.remaining_minor, old.currency, self._minimum_stakes_minor)
        bet = self._new_bet(
            account, market, old.selection_id, old.handicap, old.side, request.odds, old.remaining_minor
        )
        self._check_funds(bet, old)
        self._fold.place(bet, old, application=actor.application)
        self._orders.append(
            ReplaceOrder(
                order_id=self._draw("o", self._now_us),
                bet_id=old.bet_id,
                user_id=old.user_id,
                market_id=old.market_id,
                ordered_at=self._now,
                new_bet_id=bet.bet_id,
                new_version=bet.version,
                odds=bet.odds,
                stake_minor=bet.stake_minor,
            )
        )
        self._causes[bet.user_id] = bet.bet_id
        return bet.bet_id, Submission(
            submission_id=request.request_id, bet=bet, replaces=old.bet_id, submitted_at=self._now
        )

    def _new_bet(
        self,
        account: AccountFacts,
        market: MarketFacts,
        selection_id: int,
        handicap: Decimal,
        side: Side,
        odds: Decimal | None,
        stake_minor: int,
    ) -> Bet:
        if odds is None:
            odds = MIN_ODDS if side is Side.BACK else MAX_ODDS
        return Bet(
            bet_id=self._draw("b", self._now_us),
            version=1,
            user_id=account.account_id,
            event_id=market.event_id,
            market_id=market.market_id,
            selection_id=selection_id,
            handicap=Decimal(decimal_text(handicap)),
            side=side,
            odds=Decimal(decimal_text(odds)),
            currency=account.currency,
            stake_minor=stake_minor,
            remaining_minor=stake_minor,
            status=BetStatus.PENDING,
            number_of_winners=market.number_of_winners,
            number_of_selections=market.number_of_selections,
            placed_at=self._now,
            updated_at=self._now,
        )

    def _check_currency(self, account: AccountFacts, currency: str) -> None:
        bet_rules.check_currency(account, currency)
        held = self._fold.currency(account.account_id)
        if held is not None and held != currency:
            raise Forbidden(
                RefusalCode.WRONG_CURRENCY, "currency", currency, f"the account's money is in {held}"
            )

    def _check_funds(self, bet: Bet, replaces: Bet | None) -> None:
        added = self._fold.added_exposure_minor(bet, replaces)
        available = self._fold.available_minor(bet.user_id)
        if added > max(0, available):
            raise InsufficientFunds(
                RefusalCode.INSUFFICIENT_FUNDS,
                "stake_minor",
                bet.stake_minor,
                f"the bet could lose {major(added, bet.currency)} {bet.currency} more;"
                f" available is {major(max(0, available), bet.currency)}",
            )


def _may_see(actor: Actor, before: KnownSubmission) -> bool:
    """Whether the actor may be shown what was answered: its own, an older release's, and anything for the
    platform's own processes.
    """
    return actor.in_process or before.application in (None, actor.application)
