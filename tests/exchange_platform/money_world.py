"""Wallet, bets and exchange together, each step of which can be cut off, repeated or put off. Not here: which
steps, and when (test_money_machine.py).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import Decimal
from enum import Enum, auto
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from exchange_platform.domain.actors import THIS_PROCESS, Actor
from exchange_platform.domain.bet_requests import Answer, BetRequest, caller_id
from exchange_platform.domain.bets import FLAT, LIVE, Bet, BetStatus, Position, Side, market_exposure_minor
from exchange_platform.domain.records import BetUpdate, decode
from exchange_platform.domain.refusals import Conflict, Refused
from exchange_platform.exchanges.simulated.states import Phase
from exchange_platform.operations import checks
from exchange_platform.settings import Settings
from exchange_platform.stores.operational import database as tables
from exchange_platform.stores.operational.bets.bets import apply_bet_updates
from exchange_platform.stores.operational.bets.order_outbox import mark_published
from exchange_platform.stores.operational.bets.rows import bet_from_row
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.tables.wallets import (
    house_balances,
    pending_bets,
    replacements,
    wallet_transfers,
)
from exchange_platform.stores.operational.wallets.wallets import Wallets
from exchange_platform.submission.acceptance import Acceptance
from exchange_platform.submission.order_publishing import OrderRelay
from exchange_platform.submission.reconciliation import Reconciliation
from tests.exchange_platform.answering import AnsweringExchange
from tests.exchange_platform.betting import EVENT, SetClock, add_account, add_event, add_market, set_market
from tests.exchange_platform.recording import RecordingStream

ACCOUNTS = {"ann": 3000, "bob": 1_000_000}
"""What each begins with."""
APPLICATIONS = {account: Actor(f"app-of-{account}", token_id=account) for account in ACCOUNTS}
"""Who asks for each. Each has a token that may act for its account alone, which the API sees to."""
MARKETS = {"m1": 1, "m2": 2, "m3": 1}
"""How many selections win, a market."""
SELECTIONS = 4
RESTING = ((Side.BACK, "2.02", 700), (Side.BACK, "3.05", 1111), (Side.LAY, "2", 1500), (Side.LAY, "1.5", 333))
"""What traders offer on every selection at first."""


class Death(Enum):
    """Where the application dies while it submits."""

    NEVER = auto()
    BEFORE_COMMIT = auto()
    AFTER_COMMIT = auto()
    AFTER_PUT = auto()


class _Died(Exception):
    """The application died here."""


class World:
    """The platform's database, the two streams and the exchange."""

    def __init__(self, database: Database, directory: Path) -> None:
        """`database` is empty."""
        self.database = database
        self.clock = SetClock()
        self.orders = RecordingStream()
        self.updates: defaultdict[str, list[BetUpdate]] = defaultdict(list)
        """What the stream `exchange-bets` carries, a market."""
        self.consumed: Counter[str] = Counter()
        self.taken = 0
        self.disturbed: set[str] = set()
        """Accounts of whom a result was taken back or made void: they may owe."""
        self.unanswered: list[BetRequest] = []
        """Asked by an application that died before it was answered."""
        self.answers: dict[tuple[str, str], Answer] = {}
        add_event(database)
        for market_id, winners in MARKETS.items():
            add_market(database, market_id, winners=winners, of_selections=range(1, SELECTIONS + 1))
        for account_id, funds_minor in ACCOUNTS.items():
            add_account(database, account_id, funds_minor=funds_minor)
        self.exchange = AnsweringExchange(
            directory / "exchange.sqlite", self.clock, winners=MARKETS, selections=SELECTIONS, event_id=EVENT
        )
        for market_id in MARKETS:
            for selection_id in range(1, SELECTIONS + 1):
                for side, odds, stake in RESTING:
                    self.exchange.trade(market_id, selection_id, side, Decimal(odds), stake)
        self.asked_for: dict[tuple[str, str], BetRequest] = {}
        self._told = 0
        self._drawn = 0
        self._acceptance = Acceptance({"GBP": 100}, draw=self._draw)
        self.wallets = Wallets(database, clock=self.clock, draw=self._draw)
        self._relay = OrderRelay(database, self.orders, clock=self.clock)
        self._reconciliation = Reconciliation(
            Settings(data_dir=directory, pending_limit_s=30),
            database,
            self.exchange,
            _Restating(self),
            clock=self.clock,
        )

    def _draw(self, letter: str, now_us: int) -> str:
        self._drawn += 1
        return f"{letter}-{self._drawn:06d}"

    # Applications.

    def ask(self, *requests: BetRequest, death: Death = Death.NEVER) -> None:
        """Ask for all of these in one group, as an application that may die on the way."""
        self.clock.us += 1000
        try:
            with self.database.write() as connection:
                actors = [APPLICATIONS[request.account_id] for request in requests]
                decided = self._acceptance.decide(connection, requests, self.clock.us, actors)
                if death is Death.BEFORE_COMMIT:
                    raise _Died
        except _Died:
            self.unanswered += requests
            return
        if death is not Death.AFTER_COMMIT:
            self.orders.publish([(order.market_id, order.data) for order in decided.orders])
        if death is Death.NEVER:
            with self.database.write() as connection:
                mark_published(connection, [order.order_id for order in decided.orders], self.clock.us)
            for request, outcome in zip(requests, decided.outcomes, strict=True):
                self._answered(request, outcome)
        else:
            self.unanswered += requests

    def ask_again(self) -> None:
        """Ask once more for everything that was not answered."""
        waiting, self.unanswered = self.unanswered, []
        for request in waiting:
            self.ask(request)

    def ask_as_another(self, request: BetRequest) -> None:
        """Another application asks for what was answered, under the same id: it is refused, and nothing is
        written for it.
        """
        (other,) = (one for account, one in APPLICATIONS.items() if account != request.account_id)
        with self.database.write() as connection:
            decided = self._acceptance.decide(connection, [request], self.clock.us, [other])
        (outcome,) = decided.outcomes
        assert isinstance(outcome, Conflict), "another application was given the answer, or a second bet"
        assert not decided.orders

    def _answered(self, request: BetRequest, outcome: Answer | Refused) -> None:
        submission_id = caller_id(request)
        if submission_id is None or isinstance(outcome, Refused):
            return
        self.asked_for[request.account_id, submission_id] = request
        first = self.answers.setdefault((request.account_id, submission_id), outcome)
        assert first == outcome, "the same submission was answered otherwise"

    def relay(self) -> None:
        """Publish what was left."""
        self.clock.pass_s(2)
        self._relay.look()

    def reconcile(self) -> None:
        """Ask the exchange for what is late."""
        self.clock.pass_s(31)
        found = self._reconciliation.run()
        assert not found.contradictions
        assert not found.lapsed

    # The exchange and its stream.

    def exchange_reads(self, count: int, *, again: int = 0) -> None:
        """Let the exchange read on in `bet-orders`, from some records back."""
        start = max(0, self.taken - again)
        records = [data for _, data in self.orders.records[start : self.taken + count]]
        self.taken = max(self.taken, start + len(records))
        self.exchange.take(records, self.taken)
        self.publish()

    def publish(self) -> None:
        """Let what the exchange told be in its stream."""
        for bet in self.exchange.told[self._told :]:
            self.updates[bet.market_id].append(bet)
        self._told = len(self.exchange.told)

    def restart_exchange(self) -> None:
        """Let the exchange die and come back."""
        self.publish()
        self.exchange.restart()
        self.taken = max(0, self.taken - 3)  # it reads a little again

    def consume(self, market_id: str, count: int, *, again: int = 0) -> None:
        """Let the consumer apply what the stream has of a market, from some records back."""
        known = self.consumed[market_id]
        batch = self.updates[market_id][max(0, known - again) : known + count]
        self._note_disturbed(batch)
        with self.database.write() as connection:
            verdicts = apply_bet_updates(connection, batch)
        assert [verdict.reason for verdict in verdicts] == [None] * len(batch)
        self.consumed[market_id] = max(known, min(len(self.updates[market_id]), known + count))

    def feed_market(self, market_id: str) -> None:
        """Let the platform know whether the market is open."""
        set_market(self.database, market_id, "OPEN" if self.exchange.is_open(market_id) else "CLOSED")

    def _note_disturbed(self, batch: Sequence[Bet]) -> None:
        self.disturbed |= {
            bet.user_id
            for bet in batch
            if bet.status is BetStatus.UNSETTLED or (bet.status is BetStatus.VOIDED and bet.voided_minor)
        }

    # What must hold.

    def bets(self) -> dict[str, Bet]:
        """Every bet that the platform knows."""
        with self.database.read() as connection:
            return {row.bet_id: bet_from_row(row) for row in connection.execute(sa.select(tables.bets))}

    def check(self) -> None:
        """Assert all that holds after every step."""
        with self.database.read() as connection:
            bets = [bet_from_row(row) for row in connection.execute(sa.select(tables.bets))]
            profiles = {row.user_id: row for row in connection.execute(sa.select(tables.profiles))}
            house = connection.execute(sa.select(house_balances)).all()
            entries = connection.execute(
                sa.select(
                    tables.ledger.c.user_id,
                    tables.ledger.c.account,
                    sa.func.sum(tables.ledger.c.amount_minor),
                ).group_by(tables.ledger.c.user_id, tables.ledger.c.account)
            ).all()
            positions = {
                (row.user_id, row.market_id, row.selection_id): Position(
                    row.if_wins_minor, row.if_loses_minor
                )
                for row in connection.execute(sa.select(tables.positions))
            }
            exposures = connection.execute(sa.select(tables.market_exposures)).all()
            credited = connection.execute(sa.select(replacements)).all()
            pending = set(connection.execute(sa.select(pending_bets.c.bet_id)).scalars())
            transfers = connection.execute(sa.select(wallet_transfers)).all()
            asked_by = connection.execute(
                sa.select(tables.ledger.c.user_id, tables.ledger.c.application).distinct()
            ).all()
        for user_id, application in asked_by:
            own = APPLICATIONS[user_id].application if user_id in APPLICATIONS else None
            assert application in (None, THIS_PROCESS.application, own), (user_id, application)
        self._check_money(profiles, house, entries, transfers)
        self._check_positions(bets, positions, exposures, credited, profiles)
        self._check_accounts(bets, profiles)
        assert pending == {bet.bet_id for bet in bets if bet.status is BetStatus.PENDING}

    def _check_money(
        self,
        profiles: dict[str, sa.Row[Any]],
        house: Sequence[sa.Row[Any]],
        entries: Sequence[Any],
        transfers: Sequence[sa.Row[Any]],
    ) -> None:
        assert (
            sum(row.balance_minor for row in profiles.values()) + sum(row.amount_minor for row in house) == 0
        )
        sums = {(user_id, account): int(amount) for user_id, account, amount in entries}
        cash = sum(row.amount_minor if row.kind == "deposit" else -row.amount_minor for row in transfers)
        assert sum(row.amount_minor for row in house if row.account == "cash") == -cash
        for user_id, row in profiles.items():
            assert row.balance_minor == sums.get((user_id, "balance"), 0)
            assert row.exposure_minor == sums.get((user_id, "exposure"), 0)
            assert row.balance_minor == (
                row.deposited_minor - row.withdrawn_minor + row.profit_minor - row.commission_minor
            )

    def _check_positions(
        self,
        bets: Sequence[Bet],
        positions: dict[tuple[str, str, int], Position],
        exposures: Sequence[sa.Row[Any]],
        credited: Sequence[sa.Row[Any]],
        profiles: dict[str, sa.Row[Any]],
    ) -> None:
        by_id = {bet.bet_id: bet for bet in bets}
        held: defaultdict[tuple[str, str, int], Position] = defaultdict(lambda: FLAT)
        for bet in bets:
            held[bet.user_id, bet.market_id, bet.selection_id] += bet.position()
        for row in credited:
            new = by_id[row.new_bet_id]
            assert new.status is BetStatus.PENDING
            held[new.user_id, new.market_id, new.selection_id] += Position(
                row.credit_wins_minor, row.credit_loses_minor
            )
        assert positions == {key: position for key, position in held.items() if position != FLAT}
        total: Counter[str] = Counter()
        for row in exposures:
            own = [
                position
                for (user_id, market_id, _), position in positions.items()
                if (user_id, market_id) == (row.user_id, row.market_id)
            ]
            assert row.exposure_minor == market_exposure_minor(own, MARKETS[row.market_id], SELECTIONS)
            total[row.user_id] += row.exposure_minor
        for user_id, row in profiles.items():
            assert row.exposure_minor == total[user_id]

    def _check_accounts(self, bets: Sequence[Bet], profiles: dict[str, sa.Row[Any]]) -> None:
        """No account's exposure exceeds its balance, but where a market is half settled or a result was taken
        back.
        """
        settled = {(bet.user_id, bet.market_id) for bet in bets if bet.status is BetStatus.SETTLED}
        live = {(bet.user_id, bet.market_id) for bet in bets if bet.status in LIVE}
        settling = {user_id for user_id, _ in settled & live}
        for account_id in ACCOUNTS:
            row = profiles[account_id]
            if account_id not in self.disturbed | settling:
                assert row.exposure_minor <= row.balance_minor, f"{account_id} can lose more than there is"

    def finish(self) -> None:
        """Let everything arrive, close and settle every market; then nothing is owed, reserved, lost or
        doubled.
        """
        self.orders.away = False
        self.ask_again()
        self.relay()
        for market_id in MARKETS:
            self.exchange.set_bet_delay(market_id, 0)
        self.exchange_reads(len(self.orders.records))
        self.clock.pass_s(60)
        for market_id in MARKETS:
            self.exchange.place_due(market_id)
        self._arrive()
        placed = [bet for bet in self.bets().values() if bet.user_id in ACCOUNTS]
        for bet in placed:
            taken = self.exchange.bet(bet.bet_id)
            assert taken is not None, f"the exchange never got {bet}"
            assert (taken.version, taken.status, taken.matched_minor) == (
                bet.version,
                bet.status,
                bet.matched_minor,
            )
            assert bet.status is not BetStatus.PENDING
        for answer in self.answers.values():
            assert answer.bet.bet_id in self.bets()
        for market_id, count in MARKETS.items():
            over = (Phase.SETTLED, Phase.FINISHED)
            while self.exchange.conclude(market_id, range(count), 1000) not in over:
                pass
        self._arrive()
        with self.database.read() as connection:
            assert connection.execute(sa.select(tables.market_exposures)).all() == []
            owed = connection.execute(
                sa.select(house_balances).where(
                    house_balances.c.account == "clearing", house_balances.c.amount_minor != 0
                )
            ).all()
        assert owed == []
        for outcome in (
            checks.money_conserved(self.database),
            checks.bets_conserved(self.database),
            checks.books_balanced(self.database),
            checks.reservations_backed(self.database),
        ):
            assert outcome.passed, outcome.description

    def _arrive(self) -> None:
        self.publish()
        for market_id in MARKETS:
            self.consume(market_id, len(self.updates[market_id]))
        self.check()


class _Restating:
    """The stream `exchange-bets`, for what reconciliation publishes there: it comes after what the exchange
    has told.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def publish(self, records: Sequence[tuple[str, bytes]]) -> None:
        for market_id, data in records:
            record = decode(data)
            assert isinstance(record, BetUpdate)
            self._world.updates[market_id].append(record)

    def created_at(self) -> int:
        return 0
