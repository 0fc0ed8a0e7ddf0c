"""Bets placed, cancelled, replaced and read through `BetSubmission`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from exchange_platform.domain.bets import Bet, BetStatus, Side
from exchange_platform.domain.betting_limits import LimitKind
from exchange_platform.domain.orders import CancelOrder, PlaceOrder, ReplaceOrder, decode_order
from exchange_platform.domain.refusals import (
    Conflict,
    Forbidden,
    InsufficientFunds,
    Invalid,
    NotNow,
    RefusalCode,
    Refused,
    Unknown,
)
from exchange_platform.operations import checks
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.operational.database import Database, bets, outbox
from exchange_platform.stores.operational.tables.wallets import order_outbox, pending_bets, submissions
from exchange_platform.stores.operational.wallets.wallets import Wallets
from exchange_platform.streams.sources.kinesis import KinesisSource, ensure_stream
from exchange_platform.submission.service import BetSubmission
from tests.exchange_platform.betting import add_account, add_event, add_market, order, set_market
from tests.exchange_platform.recording import RecordingStream
from tests.exchange_platform.stores.bet_lives import later
from tests.exchange_platform.stores.bet_tables import applied
from tests.support.platform_parts import wait_for
from tests.support.prepared import prepare_database


def wallet_of(database: Database, account_id: str = "a1") -> tuple[int, int, int]:
    """Balance, exposure and available."""
    wallet = Wallets(database).wallet(account_id)
    return wallet.balance_minor, wallet.exposure_minor, wallet.available_minor


def count(database: Database, table: sa.Table) -> int:
    with database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def answered(database: Database, bet: Bet, **changes: Any) -> Bet:
    """The exchange's next version of a bet, applied."""
    after = later(bet, **changes)
    (verdict,) = applied(database, [after])
    assert verdict.applied, verdict.reason
    return after


def assert_money_is_right(database: Database) -> None:
    for outcome in (
        checks.money_conserved(database),
        checks.bets_conserved(database),
        checks.books_balanced(database),
        checks.reservations_backed(database),
    ):
        assert outcome.passed, outcome.description


# Placing.


def test_a_bet_is_pending_reserved_and_ordered_when_submit_returns(
    submission: BetSubmission, market: Database, stream: RecordingStream
) -> None:
    add_account(market, funds_minor=5000)
    answer = submission.submit(order(odds=Decimal("3.00")))
    bet = answer.bet
    assert (bet.status, bet.version, bet.remaining_minor) == (BetStatus.PENDING, 1, 1000)
    assert submission.bet("a1", bet.bet_id) == bet
    assert wallet_of(market) == (5000, 1000, 4000)
    (placed,) = stream.orders
    assert isinstance(placed, PlaceOrder)
    assert (placed.bet_id, placed.user_id, placed.event_id, placed.market_id) == (
        bet.bet_id,
        "a1",
        "e1",
        "m1",
    )
    assert (placed.odds, placed.stake_minor, placed.ordered_at) == (Decimal(3), 1000, bet.placed_at)
    assert stream.records[0][0] == "m1"
    assert count(market, outbox) == 0  # its owner is told once the exchange has it
    assert_money_is_right(market)


def test_a_lay_reserves_its_liability(submission: BetSubmission, market: Database) -> None:
    add_account(market, funds_minor=5000)
    submission.submit(order(side=Side.LAY, odds=Decimal("4.5")))
    assert wallet_of(market) == (5000, 3500, 1500)


def test_a_market_order_goes_without_odds_and_is_covered_at_the_worst(
    submission: BetSubmission, market: Database, stream: RecordingStream
) -> None:
    add_account(market, funds_minor=200_000)
    back = submission.submit(order("back", odds=None, stake_minor=100)).bet
    lay = submission.submit(order("lay", odds=None, stake_minor=100, side=Side.LAY, selection_id=2)).bet
    assert (back.odds, lay.odds) == (Decimal("1.01"), Decimal(1000))
    assert all(isinstance(one, PlaceOrder) and one.odds is None for one in stream.orders)
    # If the second selection wins the back is lost too.
    assert wallet_of(market)[1] == 100 * 999 + 100


def test_funds_are_judged_by_the_worst_outcome_of_the_market(
    submission: BetSubmission, market: Database
) -> None:
    add_account(market, funds_minor=1000)
    submission.submit(order("one"))
    with pytest.raises(InsufficientFunds) as refused:
        submission.submit(order("two", selection_id=2))
    assert refused.value.code is RefusalCode.INSUFFICIENT_FUNDS
    assert "could lose 10.00 GBP more; available is 0.00" in str(refused.value)
    assert wallet_of(market) == (1000, 1000, 0)


def test_a_bet_that_reduces_risk_passes_with_no_funds(submission: BetSubmission, market: Database) -> None:
    add_account(market, funds_minor=1000)
    back = submission.submit(order("back", odds=Decimal(3))).bet
    answered(
        market,
        back,
        status=BetStatus.MATCHED,
        matched_minor=1000,
        remaining_minor=0,
        matched_winnings_minor=2000,
    )
    assert wallet_of(market)[2] == 0
    lay = submission.submit(order("lay", side=Side.LAY, odds=Decimal("2.5"))).bet
    # Until it is matched it gains nothing; what it could cost is covered by what the back could win.
    assert wallet_of(market) == (1000, 1000, 0)
    answered(
        market,
        lay,
        status=BetStatus.MATCHED,
        matched_minor=1000,
        remaining_minor=0,
        matched_winnings_minor=1500,
    )
    assert wallet_of(market) == (1000, 0, 1000)
    assert_money_is_right(market)


def test_a_refused_submission_leaves_no_trace_and_its_id_is_free(
    submission: BetSubmission, market: Database, stream: RecordingStream
) -> None:
    add_account(market, funds_minor=500)
    with pytest.raises(InsufficientFunds):
        submission.submit(order("s1"))
    assert (count(market, bets), count(market, submissions), count(market, order_outbox)) == (0, 0, 0)
    Wallets(market).deposit("a1", "more", 500, "GBP", authorised_by="a test")
    assert submission.submit(order("s1")).bet.status is BetStatus.PENDING
    assert len(stream.orders) == 1


# Idempotency.


def test_the_same_submission_again_is_the_first_answer(
    submission: BetSubmission, market: Database, stream: RecordingStream
) -> None:
    add_account(market, funds_minor=5000)
    first = submission.submit(order())
    assert submission.submit(order(odds=Decimal("3.000"))) == first
    assert (count(market, bets), len(stream.orders)) == (1, 1)


def test_other_content_under_a_used_id_is_refused(submission: BetSubmission, market: Database) -> None:
    add_account(market, funds_minor=5000)
    submission.submit(order())
    with pytest.raises(Conflict) as refused:
        submission.submit(order(stake_minor=1001))
    assert (refused.value.code, refused.value.value) == (RefusalCode.SUBMISSION_CONFLICT, "'s1'")


def test_the_first_answer_outlives_the_market_the_account_and_the_process(
    submission: BetSubmission, market: Database, tmp_path: Path
) -> None:
    add_account(market, funds_minor=5000)
    first = submission.submit(order())
    set_market(market, "m1", "CLOSED")
    answered(market, first.bet, status=BetStatus.LAPSED, lapsed_minor=1000, remaining_minor=0)
    submission.close()
    with BetSubmission(Settings(data_dir=tmp_path), database=market, publisher=RecordingStream()) as another:
        assert another.submit(order()) == first
        with pytest.raises(NotNow):
            another.submit(order("s2"))


def test_two_accounts_may_use_one_id(submission: BetSubmission, market: Database) -> None:
    add_account(market, funds_minor=5000)
    add_account(market, "a2", funds_minor=5000)
    mine, theirs = submission.submit(order()), submission.submit(order(account_id="a2"))
    assert mine.bet.bet_id != theirs.bet.bet_id


# Groups.


def test_requests_that_come_together_share_a_transaction_and_see_each_others_reservations(
    submission: BetSubmission, market: Database, stream: RecordingStream
) -> None:
    add_account(market, funds_minor=2500)
    outcomes: dict[int, object] = {}

    def submit(number: int) -> None:
        try:
            outcomes[number] = submission.submit(order(f"s{number}"))
        except Refused as refusal:
            outcomes[number] = refusal

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(8)]
    with market.write():  # the first waits for this transaction, the others for the first
        threads[0].start()
        wait_for(lambda: submission.waiting == 0 and threads[0].is_alive())
        for thread in threads[1:]:
            thread.start()
        wait_for(lambda: submission.waiting >= 6)
    for thread in threads:
        thread.join()
    accepted = [one for one in outcomes.values() if not isinstance(one, Refused)]
    refused = [one for one in outcomes.values() if isinstance(one, InsufficientFunds)]
    assert (len(accepted), len(refused)) == (2, 6)
    assert wallet_of(market) == (2500, 2000, 500)
    assert stream.puts <= 2
    assert_money_is_right(market)


# Cancelling.


def test_cancelling_orders_what_rests_to_be_taken_out(
    submission: BetSubmission, market: Database, stream: RecordingStream
) -> None:
    add_account(market, funds_minor=5000)
    bet = submission.submit(order()).bet
    answer = submission.cancel("a1", bet.bet_id, 400)
    assert (answer.bet, answer.size_minor) == (bet, 400)
    assert isinstance(stream.orders[0], PlaceOrder)
    cancel = stream.orders[-1]
    assert isinstance(cancel, CancelOrder)
    assert (cancel.bet_id, cancel.size_minor, cancel.user_id) == (bet.bet_id, 400, "a1")
    assert wallet_of(market)[1] == 1000  # released once the exchange says so
    answered(market, bet, status=BetStatus.OPEN, remaining_minor=600, cancelled_minor=400)
    assert wallet_of(market)[1] == 600


def test_a_cancellation_with_a_request_id_is_asked_for_once(
    submission: BetSubmission, market: Database, stream: RecordingStream
) -> None:
    add_account(market, funds_minor=5000)
    bet = submission.submit(order()).bet
    first = submission.cancel("a1", bet.bet_id, 400, request_id="c1")
    assert submission.cancel("a1", bet.bet_id, 400, request_id="c1") == first
    with pytest.raises(Conflict):
        submission.cancel("a1", bet.bet_id, 300, request_id="c1")
    with pytest.raises(Conflict):
        submission.submit(order("c1"))
    cancels = {one.order_id for one in stream.orders if isinstance(one, CancelOrder)}
    assert len(cancels) == 1


def test_nothing_is_cancelled_that_does_not_rest_or_is_somebody_elses(
    submission: BetSubmission, market: Database
) -> None:
    add_account(market, funds_minor=5000)
    add_account(market, "a2", funds_minor=5000)
    bet = submission.submit(order()).bet
    for account_id, bet_id in (("a2", bet.bet_id), ("a1", "b-none"), ("nobody", bet.bet_id)):
        with pytest.raises(Unknown) as unknown:
            submission.cancel(account_id, bet_id)
        assert unknown.value.code is RefusalCode.UNKNOWN_BET
    with pytest.raises(Invalid) as invalid:
        submission.cancel("a1", bet.bet_id, 1001)
    assert (invalid.value.code, invalid.value.allowed) == (
        RefusalCode.INVALID_SIZE,
        "1000 rest; so much can be cancelled",
    )
    matched = answered(
        market,
        bet,
        status=BetStatus.MATCHED,
        matched_minor=1000,
        remaining_minor=0,
        matched_winnings_minor=2000,
    )
    with pytest.raises(NotNow) as refused:
        submission.cancel("a1", matched.bet_id)
    assert refused.value.code is RefusalCode.BET_NOT_OPEN


def test_an_order_that_somebody_has_not_published_goes_out_before_a_cancel(
    submission: BetSubmission, market: Database, stream: RecordingStream, tmp_path: Path
) -> None:
    add_account(market, funds_minor=5000)
    away = RecordingStream()
    away.away = True
    with BetSubmission(Settings(data_dir=tmp_path), database=market, publisher=away) as another:
        bet = another.submit(order()).bet
    assert stream.orders == []
    submission.cancel("a1", bet.bet_id)
    assert [type(one) for one in stream.orders[:2]] == [PlaceOrder, CancelOrder]


# Replacing.


def open_bet(submission: BetSubmission, market: Database, **changes: Any) -> Bet:
    bet = submission.submit(order(**changes)).bet
    return answered(market, bet, status=BetStatus.OPEN)


def test_replacing_needs_no_second_stake(
    submission: BetSubmission, market: Database, stream: RecordingStream
) -> None:
    add_account(market, funds_minor=1000)
    old = open_bet(submission, market)
    answer = submission.replace("a1", old.bet_id, Decimal("3.5"))
    new = answer.bet
    assert (answer.replaces, new.status, new.stake_minor, new.odds) == (
        old.bet_id,
        BetStatus.PENDING,
        1000,
        Decimal("3.5"),
    )
    assert wallet_of(market) == (1000, 1000, 0)
    replace = stream.orders[-1]
    assert isinstance(replace, ReplaceOrder)
    assert (replace.bet_id, replace.new_bet_id, replace.stake_minor, replace.ordered_at) == (
        old.bet_id,
        new.bet_id,
        1000,
        new.placed_at,
    )
    assert_money_is_right(market)


@pytest.mark.parametrize("first", ["the old bet's", "the new bet's"])
def test_a_replacement_counts_once_whichever_update_comes_first(
    submission: BetSubmission, market: Database, first: str
) -> None:
    add_account(market, funds_minor=2000)
    old = open_bet(submission, market, side=Side.LAY, odds=Decimal(2))
    new = submission.replace("a1", old.bet_id, Decimal(3)).bet
    assert wallet_of(market)[1] == 2000
    updates = [
        later(old, status=BetStatus.CANCELLED, remaining_minor=0, cancelled_minor=1000),
        later(new, status=BetStatus.OPEN),
    ]
    exposures = []
    for update in updates if first == "the old bet's" else reversed(updates):
        applied(market, [update])
        exposures.append(wallet_of(market)[1])
        assert checks.bets_conserved(market).passed
    # A new bet that is answered counts whole; the old one is gone only when it is said to be.
    assert exposures == ([2000, 2000] if first == "the old bet's" else [3000, 2000])


def test_what_was_matched_meanwhile_does_not_go_over(submission: BetSubmission, market: Database) -> None:
    add_account(market, funds_minor=1000)
    old = open_bet(submission, market)
    new = submission.replace("a1", old.bet_id, Decimal(4)).bet
    old = answered(market, old, matched_minor=700, remaining_minor=300, matched_winnings_minor=1400)
    assert wallet_of(market) == (1000, 1000, 0)
    applied(
        market,
        [
            later(old, status=BetStatus.MATCHED, remaining_minor=0, cancelled_minor=300),
            later(new, status=BetStatus.OPEN, remaining_minor=300, cancelled_minor=700),
        ],
    )
    assert wallet_of(market) == (1000, 1000, 0)
    assert_money_is_right(market)


def test_a_replacement_that_came_too_late_leaves_the_old_bet(
    submission: BetSubmission, market: Database
) -> None:
    add_account(market, funds_minor=1000)
    old = open_bet(submission, market)
    new = submission.replace("a1", old.bet_id, Decimal(4)).bet
    answered(
        market,
        old,
        status=BetStatus.MATCHED,
        matched_minor=1000,
        remaining_minor=0,
        matched_winnings_minor=2000,
    )
    assert wallet_of(market) == (1000, 1000, 0)
    answered(market, new, status=BetStatus.REJECTED, remaining_minor=0, cancelled_minor=1000)
    assert wallet_of(market) == (1000, 1000, 0)
    assert_money_is_right(market)


def test_a_lay_is_replaced_at_higher_odds_only_with_the_funds_for_the_difference(
    submission: BetSubmission, market: Database
) -> None:
    add_account(market, funds_minor=1500)
    old = open_bet(submission, market, side=Side.LAY, odds=Decimal(2))
    with pytest.raises(InsufficientFunds):
        submission.replace("a1", old.bet_id, Decimal("2.6"))
    assert wallet_of(market) == (1500, 1000, 500)
    submission.replace("a1", old.bet_id, Decimal("2.5"))
    assert wallet_of(market) == (1500, 1500, 0)


def test_only_an_open_bet_is_replaced_and_only_once_at_a_time(
    submission: BetSubmission, market: Database
) -> None:
    add_account(market, funds_minor=5000)
    pending = submission.submit(order()).bet
    with pytest.raises(NotNow) as refused:
        submission.replace("a1", pending.bet_id, Decimal(4))
    assert refused.value.code is RefusalCode.BET_NOT_OPEN
    answered(market, pending, status=BetStatus.OPEN)
    with pytest.raises(Invalid) as invalid:
        submission.replace("a1", pending.bet_id, Decimal("3.0"))
    assert invalid.value.code is RefusalCode.INVALID_ODDS
    first = submission.replace("a1", pending.bet_id, Decimal(4), request_id="r")
    assert submission.replace("a1", pending.bet_id, Decimal(4), request_id="r") == first
    for bet_id in (pending.bet_id, first.bet.bet_id):
        with pytest.raises(NotNow):
            submission.replace("a1", bet_id, Decimal(5))


# Reading.


def test_an_accounts_bets_come_in_pages_newest_first(submission: BetSubmission, market: Database) -> None:
    add_account(market, funds_minor=50_000)
    add_account(market, "a2")
    placed = [submission.submit(order(f"s{number}")).bet.bet_id for number in range(7)]
    found: list[str] = []
    after = None
    for size in (3, 3, 1):
        page = submission.bets("a1", after=after, limit=3)
        found += [bet.bet_id for bet in page.bets]
        assert len(page.bets) == size
        after = page.after
    assert found == placed[::-1]
    assert after is None
    assert submission.bets("a2").bets == []
    assert submission.bets("a1", statuses=[BetStatus.OPEN]).bets == []
    assert len(submission.bets("a1", statuses=[BetStatus.OPEN, BetStatus.PENDING]).bets) == 7


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"limit": 0}, RefusalCode.INVALID_PAGE),
        ({"limit": 201}, RefusalCode.INVALID_PAGE),
        ({"after": "somewhere"}, RefusalCode.INVALID_PAGE),
        ({"after": "-1.b"}, RefusalCode.INVALID_PAGE),
        ({"after": "1" * 100 + ".b"}, RefusalCode.INVALID_PAGE),
    ],
)
def test_a_page_that_can_not_be_is_refused(
    submission: BetSubmission, market: Database, asked: dict[str, Any], code: RefusalCode
) -> None:
    add_account(market)
    with pytest.raises(Invalid) as refused:
        submission.bets("a1", **asked)
    assert refused.value.code is code


def test_nobody_reads_anybody_elses_bets(submission: BetSubmission, market: Database) -> None:
    add_account(market, funds_minor=5000)
    add_account(market, "a2")
    bet = submission.submit(order()).bet
    with pytest.raises(Unknown):
        submission.bet("a2", bet.bet_id)
    with pytest.raises(Unknown) as unknown:
        submission.bets("nobody")
    assert unknown.value.code is RefusalCode.UNKNOWN_ACCOUNT


# Limits.


def test_a_stake_over_the_owners_limit_and_a_bet_in_a_break_are_refused(
    submission: BetSubmission, market: Database
) -> None:
    add_account(market, funds_minor=50_000)
    bet = open_bet(submission, market)
    wallets = Wallets(market)
    wallets.set_limit("a1", LimitKind.STAKE, 900)
    with pytest.raises(Forbidden) as refused:
        submission.submit(order("s2"))
    assert refused.value.code is RefusalCode.STAKE_OVER_LIMIT
    submission.submit(order("s3", stake_minor=900))
    wallets.take_break("a1", SYSTEM_CLOCK.now_us() + 60_000_000)
    acts: tuple[Callable[[], object], ...] = (
        lambda: submission.submit(order("s4", stake_minor=900)),
        lambda: submission.replace("a1", bet.bet_id, Decimal(4)),
    )
    for act in acts:
        with pytest.raises(Forbidden) as refused:
            act()
        assert refused.value.code is RefusalCode.ON_BREAK
    submission.cancel("a1", bet.bet_id)


# The stream.


def test_a_bet_is_accepted_while_the_stream_is_away_and_ordered_when_it_is_back(
    submission: BetSubmission, market: Database, stream: RecordingStream
) -> None:
    add_account(market, funds_minor=5000)
    stream.away = True
    bets_placed = [submission.submit(order(f"s{number}")).bet.bet_id for number in range(3)]
    assert stream.orders == []
    stream.away = False
    wait_for(lambda: len(stream.orders) >= 3, timeout_s=20)
    assert [one.bet_id for one in stream.orders[:3]] == bets_placed


def test_a_put_that_hangs_does_not_hold_the_answer_for_ever(
    submission: BetSubmission, market: Database, stream: RecordingStream
) -> None:
    add_account(market, funds_minor=5000)
    stream.hold = threading.Event()
    assert submission.submit(order()).bet.status is BetStatus.PENDING
    stream.hold.set()
    wait_for(lambda: stream.orders)


def test_published_orders_are_marked_so(submission: BetSubmission, market: Database) -> None:
    add_account(market, funds_minor=5000)
    submission.submit(order())

    def marked() -> bool:
        with market.read() as connection:
            return connection.execute(sa.select(order_outbox.c.published_at_us)).scalar_one() is not None

    wait_for(marked)
    assert count(market, pending_bets) == 1


def test_nothing_is_asked_of_a_closed_submission(submission: BetSubmission, market: Database) -> None:
    add_account(market, funds_minor=5000)
    submission.close()
    with pytest.raises(RuntimeError, match="closed"):
        submission.submit(order())


def test_the_real_stream_carries_the_order(settings: Settings) -> None:
    database = Database(settings.operational_database_url, durable=True)
    prepare_database(database)
    add_event(database)
    add_market(database)
    add_account(database, funds_minor=5000)
    client = aws_client(settings, "kinesis")
    ensure_stream(client, settings.orders_stream)
    with BetSubmission(settings) as submission:
        bets_placed = [submission.submit(order(f"s{number}")).bet for number in range(3)]
    source = KinesisSource(client, settings.orders_stream)
    (shard,) = source.shards()
    source.seek(shard.name, None)
    orders = [decode_order(record.data) for record in source.read(shard.name).records]
    assert [one.bet_id for one in orders] == [bet.bet_id for bet in bets_placed]
    with database.read() as connection:
        assert (
            connection.execute(
                sa.select(sa.func.count()).where(order_outbox.c.published_at_us.is_(None))
            ).scalar_one()
            == 0
        )
    source.close()
    database.dispose()


def test_a_bet_of_the_exchanges_is_as_it_was_submitted_but_for_its_version(
    submission: BetSubmission, market: Database
) -> None:
    add_account(market, funds_minor=5000)
    bet = submission.submit(order(handicap=Decimal(0), odds=Decimal("3.50"))).bet
    with market.read() as connection:
        row = connection.execute(sa.select(bets)).one()
    assert (row.odds, row.handicap, row.status) == ("3.5", "0", "PENDING")
    assert msgspec.json.decode(msgspec.json.encode(bet), type=Bet) == bet
