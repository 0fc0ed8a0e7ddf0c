"""Bets that stay PENDING: what the exchange says of them is applied, and they are never ordered again."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import sqlalchemy as sa

from exchange_platform.domain.bets import Bet, BetResult, BetStatus
from exchange_platform.domain.records import BetUpdate, decode, encode
from exchange_platform.exchanges.simulated.taken_bets import JOURNAL_FILE, TAKEN_BETS_SCHEMA
from exchange_platform.local.programs import free_ports
from exchange_platform.operations import checks
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.bets.rows import bet_from_row
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import Database, bets
from exchange_platform.stores.operational.tables.wallets import order_outbox
from exchange_platform.stores.operational.wallets.wallets import Wallets
from exchange_platform.streams.sources.kinesis import StreamUnavailable
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from exchange_platform.submission.exchange_asking import ExchangeLookup, ExchangeUnavailable
from exchange_platform.submission.reconciliation import (
    NEVER_TAKEN,
    Reconciled,
    Reconciliation,
    reconcile_bets,
)
from exchange_platform.submission.service import BetSubmission
from tests.exchange_platform.betting import SetClock, add_account, order
from tests.exchange_platform.recording import RecordingStream
from tests.exchange_platform.stores.bet_lives import later
from tests.exchange_platform.stores.bet_tables import applied
from tests.support.consumer_rows import beat
from tests.support.platform_parts import wait_for

KEPT_S = 3600.0


class Answers:
    """An exchange that says what a test lets it."""

    def __init__(self) -> None:
        self.bets: dict[str, BetUpdate] = {}
        self.asked: list[str] = []
        self.away = False

    def bet(self, bet_id: str) -> BetUpdate | None:
        self.asked.append(bet_id)
        if self.away:
            raise ExchangeUnavailable("the exchange is away")
        return self.bets.get(bet_id)


def told(bet: Bet, **changes: Any) -> BetUpdate:
    """The exchange's next version of a bet."""
    after = later(bet, **changes)
    return BetUpdate(**{name: getattr(after, name) for name in Bet.__struct_fields__})


@pytest.fixture
def exchange() -> Answers:
    return Answers()


@pytest.fixture
def clock() -> SetClock:
    return SetClock(SYSTEM_CLOCK.now_us())


@pytest.fixture
def bets_stream() -> RecordingStream:
    return RecordingStream()


@pytest.fixture
def reconciliation(
    market: Database, exchange: Answers, clock: SetClock, bets_stream: RecordingStream, tmp_path: Path
) -> Reconciliation:
    settings = Settings(data_dir=tmp_path, pending_limit_s=30, orders_kept_s=KEPT_S)
    return Reconciliation(settings, market, exchange, bets_stream, clock=clock)


@pytest.fixture
def bet(submission: BetSubmission, market: Database, stream: RecordingStream) -> Bet:
    """A bet whose order is published and marked so."""
    add_account(market, funds_minor=1000)
    placed = submission.submit(order()).bet

    def marked() -> bool:
        with market.read() as connection:
            return connection.execute(sa.select(order_outbox.c.published_at_us)).scalar_one() is not None

    wait_for(marked)
    return placed


def stored(database: Database) -> Bet:
    with database.read() as connection:
        return bet_from_row(connection.execute(sa.select(bets)).one())


def test_nobody_is_asked_before_a_bet_is_late(
    reconciliation: Reconciliation, bet: Bet, exchange: Answers, clock: SetClock
) -> None:
    clock.pass_s(29)
    assert reconciliation.run() == Reconciled([], [], [], {})
    assert exchange.asked == []


def test_a_bet_that_was_placed_before_the_clock_was_set_back_is_asked_for(
    reconciliation: Reconciliation, bet: Bet, exchange: Answers, clock: SetClock
) -> None:
    clock.pass_s(-3600)
    reconciliation.run()
    assert exchange.asked == [bet.bet_id]


def test_the_exchanges_answer_is_applied_here_and_published_for_the_other_stores(
    reconciliation: Reconciliation,
    bet: Bet,
    exchange: Answers,
    clock: SetClock,
    market: Database,
    bets_stream: RecordingStream,
) -> None:
    clock.pass_s(31)
    matched = told(
        bet, status=BetStatus.MATCHED, matched_minor=1000, remaining_minor=0, matched_winnings_minor=2000
    )
    exchange.bets[bet.bet_id] = matched
    assert reconciliation.run().answered == [bet.bet_id]
    assert stored(market).status is BetStatus.MATCHED
    assert [decode(data) for _, data in bets_stream.records] == [matched]
    assert checks.money_conserved(market).passed
    assert reconciliation.run() == Reconciled([], [], [], {})


def test_a_bet_that_the_exchange_has_as_pending_stays_so(
    reconciliation: Reconciliation, bet: Bet, exchange: Answers, clock: SetClock, market: Database
) -> None:
    clock.pass_s(31)
    exchange.bets[bet.bet_id] = told(bet, reason="bet delay of 8 s")
    assert reconciliation.run().answered == [bet.bet_id]
    assert reconciliation.run().unknown == [bet.bet_id]
    assert stored(market).status is BetStatus.PENDING


def test_a_bet_that_the_exchange_may_still_take_is_unknown_and_not_ordered_again(
    reconciliation: Reconciliation,
    bet: Bet,
    clock: SetClock,
    market: Database,
    stream: RecordingStream,
    bets_stream: RecordingStream,
) -> None:
    clock.pass_s(KEPT_S - 1)
    assert reconciliation.run().unknown == [bet.bet_id]
    assert (stored(market).status, len(stream.records), bets_stream.records) == (BetStatus.PENDING, 1, [])
    assert Wallets(market).wallet("a1").available_minor == 0


def test_a_bet_that_the_exchange_can_not_take_any_more_lapses(
    reconciliation: Reconciliation, bet: Bet, clock: SetClock, market: Database, bets_stream: RecordingStream
) -> None:
    clock.pass_s(KEPT_S + 60)
    assert reconciliation.run().lapsed == [bet.bet_id]
    lapsed = stored(market)
    assert (lapsed.status, lapsed.version, lapsed.lapsed_minor, lapsed.reason) == (
        BetStatus.LAPSED,
        2,
        1000,
        NEVER_TAKEN,
    )
    assert Wallets(market).wallet("a1").available_minor == 1000
    assert len(bets_stream.records) == 1


def test_an_order_that_was_never_published_is_the_relays(
    reconciliation: Reconciliation,
    submission: BetSubmission,
    market: Database,
    stream: RecordingStream,
    clock: SetClock,
) -> None:
    add_account(market, funds_minor=1000)
    stream.away = True
    bet = submission.submit(order()).bet
    clock.pass_s(KEPT_S * 2)
    assert reconciliation.run().unknown == [bet.bet_id]


def test_an_answer_that_contradicts_what_is_known_is_reported_and_changes_nothing(
    reconciliation: Reconciliation,
    bet: Bet,
    exchange: Answers,
    clock: SetClock,
    market: Database,
    bets_stream: RecordingStream,
) -> None:
    clock.pass_s(31)
    exchange.bets[bet.bet_id] = msgspec.structs.replace(told(bet, status=BetStatus.OPEN), user_id="somebody")
    found = reconciliation.run()
    assert "user_id changed" in found.contradictions[bet.bet_id]
    assert (stored(market), bets_stream.records) == (bet, [])


def test_an_answer_that_can_not_be_published_is_not_applied_either(
    reconciliation: Reconciliation,
    bet: Bet,
    exchange: Answers,
    clock: SetClock,
    market: Database,
    bets_stream: RecordingStream,
) -> None:
    clock.pass_s(31)
    exchange.bets[bet.bet_id] = told(bet, status=BetStatus.OPEN)
    bets_stream.away = True
    with pytest.raises(StreamUnavailable):
        reconciliation.run()
    assert stored(market) == bet
    bets_stream.away = False
    assert reconciliation.run().answered == [bet.bet_id]


def test_a_replacement_is_known_together_with_the_bet_that_it_replaced(
    reconciliation: Reconciliation,
    submission: BetSubmission,
    bet: Bet,
    exchange: Answers,
    clock: SetClock,
    market: Database,
    bets_stream: RecordingStream,
) -> None:
    old = later(bet, status=BetStatus.OPEN)
    applied(market, [old])
    new = submission.replace("a1", old.bet_id, Decimal(4)).bet
    clock.pass_s(31)
    exchange.bets[old.bet_id] = told(old, status=BetStatus.CANCELLED, remaining_minor=0, cancelled_minor=1000)
    exchange.bets[new.bet_id] = told(new, status=BetStatus.OPEN)
    assert reconciliation.run().answered == [new.bet_id]
    wallet = Wallets(market).wallet("a1")
    assert (wallet.balance_minor, wallet.exposure_minor) == (1000, 1000)
    assert [decode(data).bet_id for _, data in bets_stream.records] == [old.bet_id, new.bet_id]  # type: ignore[union-attr]


def test_an_exchange_that_is_away_says_nothing(
    reconciliation: Reconciliation, bet: Bet, exchange: Answers, clock: SetClock, market: Database
) -> None:
    clock.pass_s(KEPT_S * 2)
    exchange.away = True
    with pytest.raises(ExchangeUnavailable):
        reconciliation.run()
    assert stored(market) == bet


def test_without_an_exchange_to_ask_the_setting_is_named(market: Database, tmp_path: Path) -> None:
    with pytest.raises(ExchangeUnavailable, match="EXCHANGE_URL"):
        reconcile_bets(Settings(data_dir=tmp_path), market)


# Asking over HTTP.


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The exchange's gateway as a process; where it answers, and its data directory."""
    data_dir = tmp_path_factory.mktemp("gateway")
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [
            sys.executable,
            *("-m", "exchange_platform.exchanges.gateway", "--port", str(port), "--data-dir", str(data_dir)),
        ],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/health", trust_env=False).is_success
        except httpx.TransportError:
            return False

    try:
        wait_for(answers)
        yield url, data_dir
    finally:
        process.terminate()
        process.wait(20)


def test_a_bet_is_asked_for_by_its_id(gateway: tuple[str, Path], bet: Bet) -> None:
    url, data_dir = gateway
    taken = told(bet, status=BetStatus.OPEN)
    with closing(sqlite3.connect(data_dir / JOURNAL_FILE)) as journal:
        journal.executescript(TAKEN_BETS_SCHEMA)
        journal.execute("INSERT OR REPLACE INTO taken_bets VALUES (?, 0, ?)", (taken.bet_id, encode(taken)))
        journal.execute("INSERT OR REPLACE INTO taken_bets VALUES ('strange', 0, ?)", (b"{}",))
        journal.execute("INSERT OR REPLACE INTO taken_bets VALUES ('other', 0, ?)", (encode(taken),))
        journal.commit()
    client = ExchangeLookup(url + "/")
    assert client.bet(taken.bet_id) == taken
    for unknown in ("b-none", "a/b?c#d", "x" * 64, "<script>"):
        assert client.bet(unknown) is None
    with pytest.raises(ExchangeUnavailable, match="is no bet"):
        client.bet("strange")
    with pytest.raises(ExchangeUnavailable, match="something else"):
        client.bet("other")
    client.close()


def test_what_is_not_the_exchange_says_nothing_of_a_bet(gateway: tuple[str, Path]) -> None:
    url, _ = gateway
    elsewhere = ExchangeLookup(f"{url}/nowhere")  # a 404, but not of a bet
    with pytest.raises(ExchangeUnavailable, match="404"):
        elsewhere.bet("b1")
    (port,) = free_ports(1)
    nobody = ExchangeLookup(f"http://127.0.0.1:{port}")
    with pytest.raises(ExchangeUnavailable, match="does not answer"):
        nobody.bet("b1")


def consuming(market: Database, clock: SetClock, **signs: Any) -> None:
    """A consumer of the stream of bets that says this of itself now."""
    rows = ConsumerRows(market)
    epoch = rows.begin(EXCHANGE_BETS, "run-1", now_us=clock.now_us(), ends_at_us=clock.now_us() + 900_000_000)
    beat(rows, EXCHANGE_BETS, epoch, heartbeat_at_us=clock.now_us(), **signs)


def skipping(bet: Bet) -> BetUpdate:
    """What the exchange says of a bet once it has told of its being matched: two versions on."""
    matched = later(
        bet, status=BetStatus.MATCHED, matched_minor=1000, remaining_minor=0, matched_winnings_minor=2000
    )
    return told(matched, status=BetStatus.SETTLED, result=BetResult.LOST, profit_minor=-1000)


@pytest.mark.parametrize("what", ["behind", "never caught up", "a new stream"])
def test_no_version_is_skipped_while_the_stream_may_still_bring_it(
    reconciliation: Reconciliation,
    bet: Bet,
    exchange: Answers,
    clock: SetClock,
    market: Database,
    bets_stream: RecordingStream,
    what: str,
) -> None:
    clock.pass_s(31)
    now_us = clock.now_us()
    created_ms = (now_us - (5_000_000 if what == "a new stream" else 3_600_000_000)) // 1000
    signs: dict[str, Any] = {"statistics": {"shards": {f"shardId-000000000000@{created_ms}": {}}}}
    if what != "never caught up":
        signs["caught_up_at_us"] = now_us - (60_000_000 if what == "behind" else 0)
    consuming(market, clock, **signs)
    exchange.bets[bet.bet_id] = skipping(bet)
    assert reconciliation.run().unknown == [bet.bet_id]
    assert (stored(market).status, bets_stream.records) == (BetStatus.PENDING, [])


def test_a_version_that_the_stream_brings_no_more_is_skipped(
    reconciliation: Reconciliation, bet: Bet, exchange: Answers, clock: SetClock, market: Database
) -> None:
    clock.pass_s(31)
    hour_ago_ms = (clock.now_us() - 3_600_000_000) // 1000
    shards: dict[str, Any] = {"shards": {f"shardId-000000000000@{hour_ago_ms}": {}}}
    consuming(market, clock, statistics=shards, caught_up_at_us=clock.now_us() - 1_000_000)
    exchange.bets[bet.bet_id] = skipping(bet)
    assert reconciliation.run().answered == [bet.bet_id]
    assert stored(market).status is BetStatus.SETTLED


def test_the_next_version_is_applied_at_once_whatever_the_stream_does(
    reconciliation: Reconciliation, bet: Bet, exchange: Answers, clock: SetClock, market: Database
) -> None:
    clock.pass_s(31)
    consuming(market, clock)
    exchange.bets[bet.bet_id] = told(bet, status=BetStatus.OPEN)
    assert reconciliation.run().answered == [bet.bet_id]
