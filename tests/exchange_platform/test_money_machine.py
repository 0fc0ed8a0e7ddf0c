"""Wallet, bets and exchange in any order of steps: bets placed, filled, cancelled, replaced, settled, void,
taken back; deaths, repeats, delays.

After every step all ledgers add up to nothing, every sum is what its parts are, and no account can lose more
than it has. On SQLite, and on MariaDB where there is one.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, note
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from exchange_platform.domain.bet_requests import BetOrder, CancelBet, ReplaceBet
from exchange_platform.domain.bets import BetStatus, Side
from exchange_platform.domain.refusals import InsufficientFunds
from exchange_platform.stores.operational.database import Database, metadata
from exchange_platform.stores.schema import migrate_database
from tests.exchange_platform.money_world import ACCOUNTS, APPLICATIONS, MARKETS, SELECTIONS, Death, World
from tests.support.prepared import prepare_database

ODDS = [Decimal(text) for text in ("1.01", "1.5", "2", "2.02", "3.05", "3.1", "7.4", "32")]
accounts = st.sampled_from(sorted(ACCOUNTS))
markets = st.sampled_from(sorted(MARKETS))
selections = st.integers(1, SELECTIONS)
sides = st.sampled_from(Side)
odds = st.sampled_from(ODDS)
stakes = st.sampled_from([100, 101, 333, 1000, 2499])
ALL, A_PENNY_MORE = -1, -2
deaths = st.sampled_from([Death.NEVER] * 5 + list(Death))
some = st.sampled_from([1, 3, 1000, 1000])
again = st.sampled_from([0, 0, 1, 7])


class MoneyMachine(RuleBasedStateMachine):
    """One world a run. The class attribute says in which database."""

    empty: ClassVar[EmptyDatabase]

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="money-"))
        self.database = self.empty.database(self.directory)
        self.world = World(self.database, self.directory)
        self.asked = 0

    def teardown(self) -> None:
        """Let everything come to its end, and look at it."""
        try:
            self.world.finish()
        finally:
            self.world.exchange.journal.close()
            self.empty.done(self.database)
            shutil.rmtree(self.directory)

    def order(
        self, account: str, market: str, selection: int, side: Side, at: Decimal | None, stake: int
    ) -> BetOrder:
        """A new order, with an id of its own."""
        self.asked += 1
        return BetOrder(
            account_id=account,
            submission_id=f"s{self.asked}",
            market_id=market,
            selection_id=selection,
            side=side,
            odds=at,
            currency="GBP",
            stake_minor=stake,
        )

    def some_bet(self, data: st.DataObject, *statuses: BetStatus) -> tuple[str, str] | None:
        """A bet of an account's with one of the statuses: (account, bet id)."""
        found = sorted(
            (bet.bet_id, bet.user_id)
            for bet in self.world.bets().values()
            if bet.user_id in ACCOUNTS and bet.status in statuses
        )
        if not found:
            return None
        place = data.draw(st.integers(0, len(found) - 1))
        bet_id, account_id = found[place]
        return account_id, bet_id

    @rule(
        account=accounts,
        market=markets,
        selection=selections,
        side=sides,
        at=odds,
        stake=stakes | st.sampled_from([ALL, A_PENNY_MORE]),
        death=deaths,
        arrive=st.booleans(),
    )
    def submit(
        self,
        account: str,
        market: str,
        selection: int,
        side: Side,
        at: Decimal,
        stake: int,
        death: Death,
        arrive: bool,
    ) -> None:
        """An application submits a bet, at times of all that there is, and may die on the way."""
        if stake < 0:
            available = self.world.wallets.wallet(account).available_minor
            at = Decimal(2)  # a lay costs its stake, too
            stake = max(100, available + (stake == A_PENNY_MORE))
        self.world.ask(self.order(account, market, selection, side, at, stake), death=death)
        if arrive:
            self.world.exchange_reads(1000)
            self.world.consume(market, 1000)

    @rule(
        account=accounts,
        market=markets,
        selection=selections,
        bets=st.lists(st.tuples(sides, odds | st.none(), stakes), min_size=2, max_size=5),
        arrive=st.booleans(),
    )
    def submit_a_group(
        self,
        account: str,
        market: str,
        selection: int,
        bets: list[tuple[Side, Decimal | None, int]],
        arrive: bool,
    ) -> None:
        """Several bets share a transaction; some are at whatever odds there are."""
        self.world.ask(*(self.order(account, market, selection, side, at, stake) for side, at, stake in bets))
        if arrive:
            self.world.exchange_reads(1000)
            self.world.consume(market, 1000)

    @rule()
    @precondition(lambda self: self.world.unanswered)
    def ask_again(self) -> None:
        """Whoever was not answered asks again."""
        self.world.ask_again()

    @rule(data=st.data(), size=st.none() | st.sampled_from([1, 50, 500]), death=deaths)
    def cancel(self, data: st.DataObject, size: int | None, death: Death) -> None:
        """A bet is cancelled, or a part of it."""
        found = self.some_bet(data, BetStatus.PENDING, BetStatus.OPEN)
        if found is not None:
            self.asked += 1
            self.world.ask(
                CancelBet(account_id=found[0], bet_id=found[1], size_minor=size, request_id=f"c{self.asked}"),
                death=death,
            )

    @rule(data=st.data(), at=odds, death=deaths)
    def replace(self, data: st.DataObject, at: Decimal, death: Death) -> None:
        """What rests of a bet is asked for at other odds."""
        found = self.some_bet(data, BetStatus.OPEN)
        if found is not None:
            self.asked += 1
            self.world.ask(
                ReplaceBet(account_id=found[0], bet_id=found[1], odds=at, request_id=f"r{self.asked}"),
                death=death,
            )

    @rule(late=st.booleans())
    def look_after_what_was_left(self, late: bool) -> None:
        """A relay publishes what was left; for what is late the exchange is asked."""
        self.world.relay()
        if late:
            self.world.reconcile()

    @rule(count=some, again=again)
    def exchange_reads(self, count: int, again: int) -> None:
        """The exchange reads orders, some of them again."""
        self.world.exchange_reads(count, again=again)

    @rule(
        market=markets,
        trades=st.lists(st.tuples(selections, sides, st.none() | odds, stakes), min_size=1, max_size=4),
    )
    def trade(self, market: str, trades: list[tuple[int, Side, Decimal | None, int]]) -> None:
        """Traders' orders fill some, or rest."""
        for selection, side, at, stake in trades:
            self.world.exchange.trade(market, selection, side, at, stake)
        self.world.publish()

    @rule(market=markets, delay=st.sampled_from([0.0, 5.0]))
    def bet_delay(self, market: str, delay: float) -> None:
        """The market is in play, and orders wait; or those that have waited are placed."""
        self.world.exchange.set_bet_delay(market, delay)
        self.world.clock.pass_s(6)
        self.world.exchange.place_due(market)
        self.world.publish()

    @rule(of=st.sets(markets, min_size=1), count=some, again=again)
    def consume(self, of: set[str], count: int, again: int) -> None:
        """The consumer applies updates of some markets, some of them again, however far the others are."""
        for market in sorted(of):
            self.world.consume(market, count, again=again)

    @rule()
    def restart_the_exchange(self) -> None:
        """The exchange dies and comes back."""
        self.world.restart_exchange()

    @rule(
        market=markets,
        most=some,
        first=st.integers(0, SELECTIONS - 1),
        other=st.integers(0, 5),
        steps=st.integers(1, 4),
        known=st.booleans(),
        close=st.integers(0, 3),
    )
    @precondition(lambda self: self.asked > 6)
    def conclude(
        self, market: str, most: int, first: int, other: int, steps: int, known: bool, close: int
    ) -> None:
        """A market goes on towards its end: it closes, is settled, at times void or taken back, some bets at
        a time.
        """
        if close and self.world.exchange.is_open(market):
            return
        winners = [(first + place) % SELECTIONS for place in range(MARKETS[market])]
        for step in range(steps):
            self.world.exchange.conclude(market, winners, most, otherwise=other == step)
        self.world.publish()
        if known:
            self.world.feed_market(market)
            self.world.consume(market, most)

    @precondition(lambda self: self.world.asked_for)
    @rule(data=st.data())
    def another_application_repeats(self, data: st.DataObject) -> None:
        """Somebody else's token shows the id of a request that was answered."""
        asked = self.world.asked_for
        self.world.ask_as_another(asked[data.draw(st.sampled_from(sorted(asked)))])

    @rule(account=accounts, amount=stakes, repeated=st.booleans())
    def deposit(self, account: str, amount: int, repeated: bool) -> None:
        """Money comes in, once."""
        self.asked += 1
        for _ in range(1 + repeated):
            self.world.wallets.deposit(
                account,
                f"d{self.asked}",
                amount,
                "GBP",
                authorised_by="a test",
                actor=APPLICATIONS[account],
            )

    @rule(account=accounts, amount=stakes)
    def withdraw(self, account: str, amount: int) -> None:
        """Money goes out, if it is available."""
        self.asked += 1
        before = self.world.wallets.wallet(account)
        try:
            self.world.wallets.withdraw(
                account,
                f"w{self.asked}",
                amount,
                "GBP",
                authorised_by="a test",
                actor=APPLICATIONS[account],
            )
        except InsufficientFunds:
            assert amount > before.available_minor
            note(f"{account} has {before.available_minor}")

    @invariant()
    def everything_adds_up(self) -> None:
        """What must hold, holds."""
        self.world.check()


class EmptyDatabase:
    """Gives out an empty operational database, again and again."""

    def database(self, directory: Path) -> Database:
        raise NotImplementedError

    def done(self, database: Database) -> None:
        raise NotImplementedError


class CopiedFiles(EmptyDatabase):
    """Copies of one SQLite file with the schema."""

    def database(self, directory: Path) -> Database:
        database = Database(f"sqlite:///{directory / 'operational.sqlite'}")
        prepare_database(database)
        return database

    def done(self, database: Database) -> None:
        database.dispose()


class EmptiedServer(EmptyDatabase):
    """One database of a server, emptied."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        migrate_database(self._database)

    def database(self, directory: Path) -> Database:
        with self._database.write() as connection:
            for table in metadata.sorted_tables:
                connection.execute(sa.delete(table))
        return self._database

    def done(self, database: Database) -> None:
        """It is used again."""


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.servers)])
def empty(request: pytest.FixtureRequest) -> Iterator[EmptyDatabase]:
    if request.param == "mariadb":
        server = EmptiedServer(str(request.getfixturevalue("mysql_url")))
        yield server
        server._database.dispose()
    else:
        yield CopiedFiles()


@pytest.mark.parametrize("runs", [12, pytest.param(50, marks=[pytest.mark.faults, pytest.mark.timeout(900)])])
def test_money_is_conserved_whatever_happens(empty: EmptyDatabase, runs: int) -> None:
    MoneyMachine.empty = empty
    run_state_machine_as_test(
        MoneyMachine,
        settings=hypothesis_settings(
            max_examples=runs,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
