"""Bad orders of every kind: the right refusal each, in words that help, and no change of state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from exchange_platform.domain.bets import BetStatus, Side
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
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database, metadata
from exchange_platform.submission.service import BetSubmission
from tests.exchange_platform.betting import add_account, add_event, add_market, order
from tests.exchange_platform.recording import RecordingStream
from tests.exchange_platform.stores.bet_lives import later
from tests.exchange_platform.stores.bet_tables import applied, new_database

C = RefusalCode
HTML = "<script>alert('x')</script>"
SQL = "m1'; DROP TABLE bets; --"
LONG = "x" * 65
HUGE = 10**400

ORDERS: list[tuple[dict[str, Any], type[Refused], RefusalCode]] = [
    # Odds.
    ({"odds": Decimal("NaN")}, Invalid, C.INVALID_ODDS),
    ({"odds": Decimal("sNaN")}, Invalid, C.INVALID_ODDS),
    ({"odds": Decimal("Infinity")}, Invalid, C.INVALID_ODDS),
    ({"odds": Decimal("-Infinity")}, Invalid, C.INVALID_ODDS),
    ({"odds": Decimal(-3)}, Invalid, C.INVALID_ODDS),
    ({"odds": Decimal(0)}, Invalid, C.INVALID_ODDS),
    ({"odds": Decimal(1)}, Invalid, C.INVALID_ODDS),
    ({"odds": Decimal("1.005")}, Invalid, C.INVALID_ODDS),
    ({"odds": Decimal(1001)}, Invalid, C.INVALID_ODDS),
    ({"odds": Decimal("1e999999")}, Invalid, C.INVALID_ODDS),
    ({"odds": Decimal("3.01")}, Invalid, C.INVALID_ODDS),
    ({"odds": Decimal("2.0000000000000000000001")}, Invalid, C.INVALID_ODDS),
    ({"odds": 3.0}, Invalid, C.INVALID_ODDS),
    ({"odds": "3"}, Invalid, C.INVALID_ODDS),
    ({"odds": 3}, Invalid, C.INVALID_ODDS),
    ({"odds": True}, Invalid, C.INVALID_ODDS),
    # Stakes.
    ({"stake_minor": 0}, Invalid, C.INVALID_STAKE),
    ({"stake_minor": -1000}, Invalid, C.INVALID_STAKE),
    ({"stake_minor": 10**10 + 1}, Invalid, C.INVALID_STAKE),
    ({"stake_minor": HUGE}, Invalid, C.INVALID_STAKE),
    ({"stake_minor": 10.5}, Invalid, C.INVALID_STAKE),
    ({"stake_minor": float("nan")}, Invalid, C.INVALID_STAKE),
    ({"stake_minor": Decimal(1000)}, Invalid, C.INVALID_STAKE),
    ({"stake_minor": "1000"}, Invalid, C.INVALID_STAKE),
    ({"stake_minor": True}, Invalid, C.INVALID_STAKE),
    ({"stake_minor": None}, Invalid, C.INVALID_STAKE),
    ({"stake_minor": 99}, Invalid, C.STAKE_BELOW_MINIMUM),
    ({"stake_minor": 1}, Invalid, C.STAKE_BELOW_MINIMUM),
    # Money.
    ({"stake_minor": 10**10}, InsufficientFunds, C.INSUFFICIENT_FUNDS),
    ({"stake_minor": 6451}, InsufficientFunds, C.INSUFFICIENT_FUNDS),
    ({"side": Side.LAY, "stake_minor": 3501}, InsufficientFunds, C.INSUFFICIENT_FUNDS),
    ({"side": Side.LAY, "odds": None, "stake_minor": 100}, InsufficientFunds, C.INSUFFICIENT_FUNDS),
    ({"account_id": "poor"}, InsufficientFunds, C.INSUFFICIENT_FUNDS),
    ({"currency": "EUR"}, Forbidden, C.WRONG_CURRENCY),
    ({"account_id": "euro"}, Forbidden, C.WRONG_CURRENCY),
    ({"account_id": "euro", "currency": "EUR"}, Forbidden, C.WRONG_CURRENCY),
    ({"currency": "XXX"}, Invalid, C.INVALID_CURRENCY),
    ({"currency": "gbp"}, Invalid, C.INVALID_CURRENCY),
    ({"currency": ""}, Invalid, C.INVALID_CURRENCY),
    ({"currency": HTML}, Invalid, C.INVALID_CURRENCY),
    ({"currency": None}, Invalid, C.INVALID_CURRENCY),
    # Accounts.
    ({"account_id": "nobody"}, Unknown, C.UNKNOWN_ACCOUNT),
    ({"account_id": "A1"}, Unknown, C.UNKNOWN_ACCOUNT),
    ({"account_id": "trader"}, Unknown, C.UNKNOWN_ACCOUNT),
    ({"account_id": "pending"}, Forbidden, C.ACCOUNT_NOT_CONFIRMED),
    ({"account_id": "undeliverable"}, Forbidden, C.ACCOUNT_NOT_CONFIRMED),
    ({"account_id": "closed"}, Forbidden, C.ACCOUNT_CLOSED),
    ({"account_id": ""}, Invalid, C.INVALID_ACCOUNT_ID),
    ({"account_id": "a 1"}, Invalid, C.INVALID_ACCOUNT_ID),
    ({"account_id": LONG}, Invalid, C.INVALID_ACCOUNT_ID),
    ({"account_id": "a1\n"}, Invalid, C.INVALID_ACCOUNT_ID),
    ({"account_id": 1}, Invalid, C.INVALID_ACCOUNT_ID),
    ({"account_id": "a1' OR '1'='1"}, Invalid, C.INVALID_ACCOUNT_ID),
    ({"account_id": "a1'OR'1'='1"}, Unknown, C.UNKNOWN_ACCOUNT),
    # Markets and selections.
    ({"market_id": "nowhere"}, Unknown, C.UNKNOWN_MARKET),
    ({"market_id": "M1"}, Unknown, C.UNKNOWN_MARKET),
    ({"market_id": SQL}, Invalid, C.INVALID_MARKET_ID),
    ({"market_id": "m1';DROP/**/TABLE/**/bets;--"}, Unknown, C.UNKNOWN_MARKET),
    ({"market_id": HTML}, Unknown, C.UNKNOWN_MARKET),
    ({"market_id": "mé"}, Invalid, C.INVALID_MARKET_ID),
    ({"market_id": "m\x001"}, Invalid, C.INVALID_MARKET_ID),
    ({"market_id": None}, Invalid, C.INVALID_MARKET_ID),
    ({"market_id": "inactive"}, NotNow, C.MARKET_NOT_OPEN),
    ({"market_id": "suspended"}, NotNow, C.MARKET_SUSPENDED),
    ({"market_id": "closed"}, NotNow, C.MARKET_CLOSED),
    ({"market_id": "orphan"}, Unknown, C.UNKNOWN_EVENT),
    ({"market_id": "over"}, NotNow, C.EVENT_OVER),
    ({"market_id": "abandoned"}, NotNow, C.EVENT_OVER),
    ({"selection_id": 9}, Unknown, C.UNKNOWN_SELECTION),
    ({"selection_id": 0}, Unknown, C.UNKNOWN_SELECTION),
    ({"selection_id": 3}, NotNow, C.SELECTION_NOT_ACTIVE),
    ({"selection_id": -1}, Invalid, C.INVALID_SELECTION),
    ({"selection_id": 2**53}, Invalid, C.INVALID_SELECTION),
    ({"selection_id": "1"}, Invalid, C.INVALID_SELECTION),
    ({"selection_id": 1.0}, Invalid, C.INVALID_SELECTION),
    ({"selection_id": False}, Invalid, C.INVALID_SELECTION),
    ({"handicap": Decimal("0.5")}, Unknown, C.UNKNOWN_SELECTION),
    ({"handicap": Decimal("0.123")}, Invalid, C.INVALID_HANDICAP),
    ({"handicap": Decimal("NaN")}, Invalid, C.INVALID_HANDICAP),
    ({"handicap": Decimal(1001)}, Invalid, C.INVALID_HANDICAP),
    ({"handicap": 0}, Invalid, C.INVALID_HANDICAP),
    ({"side": "back"}, Invalid, C.INVALID_SIDE),
    ({"side": None}, Invalid, C.INVALID_SIDE),
    # Submission ids.
    ({"submission_id": ""}, Invalid, C.INVALID_SUBMISSION_ID),
    ({"submission_id": LONG}, Invalid, C.INVALID_SUBMISSION_ID),
    ({"submission_id": "two words"}, Invalid, C.INVALID_SUBMISSION_ID),
    ({"submission_id": "\U0001f600"}, Invalid, C.INVALID_SUBMISSION_ID),
    ({"submission_id": None}, Invalid, C.INVALID_SUBMISSION_ID),
    ({"submission_id": "used"}, Conflict, C.SUBMISSION_CONFLICT),
]

Ask = Callable[[BetSubmission], object]
REQUESTS: list[tuple[str, Ask, type[Refused], RefusalCode]] = [
    ("cancel: foreign", lambda s: s.cancel("a1", "theirs"), Unknown, C.UNKNOWN_BET),
    ("cancel: unknown", lambda s: s.cancel("a1", "none"), Unknown, C.UNKNOWN_BET),
    ("cancel: an exchange's number", lambda s: s.cancel("a1", "123456"), Unknown, C.UNKNOWN_BET),
    ("cancel: SQL", lambda s: s.cancel("a1", "x' OR 1=1"), Invalid, C.INVALID_BET_ID),
    ("cancel: HTML", lambda s: s.cancel("a1", HTML), Unknown, C.UNKNOWN_BET),
    ("cancel: zero", lambda s: s.cancel("a1", "mine", 0), Invalid, C.INVALID_SIZE),
    ("cancel: negative", lambda s: s.cancel("a1", "mine", -5), Invalid, C.INVALID_SIZE),
    ("cancel: huge", lambda s: s.cancel("a1", "mine", HUGE), Invalid, C.INVALID_SIZE),
    ("cancel: more than rests", lambda s: s.cancel("a1", "mine", 501), Invalid, C.INVALID_SIZE),
    ("cancel: over", lambda s: s.cancel("a1", "over"), NotNow, C.BET_NOT_OPEN),
    ("cancel: id", lambda s: s.cancel("a1", "mine", request_id=""), Invalid, C.INVALID_SUBMISSION_ID),
    ("cancel: used id", lambda s: s.cancel("a1", "mine", request_id="used"), Conflict, C.SUBMISSION_CONFLICT),
    ("replace: foreign", lambda s: s.replace("a1", "theirs", Decimal(4)), Unknown, C.UNKNOWN_BET),
    ("replace: unknown", lambda s: s.replace("a1", "none", Decimal(4)), Unknown, C.UNKNOWN_BET),
    ("replace: off the ladder", lambda s: s.replace("a1", "mine", Decimal("4.01")), Invalid, C.INVALID_ODDS),
    ("replace: NaN", lambda s: s.replace("a1", "mine", Decimal("NaN")), Invalid, C.INVALID_ODDS),
    ("replace: the same odds", lambda s: s.replace("a1", "mine", Decimal(3)), Invalid, C.INVALID_ODDS),
    (
        "replace: too little rests",
        lambda s: s.replace("a1", "scrap", Decimal(4)),
        Invalid,
        C.STAKE_BELOW_MINIMUM,
    ),
    ("replace: over", lambda s: s.replace("a1", "over", Decimal(4)), NotNow, C.BET_NOT_OPEN),
    ("read: foreign", lambda s: s.bet("a1", "theirs"), Unknown, C.UNKNOWN_BET),
    ("read: HTML", lambda s: s.bet("a1", HTML), Unknown, C.UNKNOWN_BET),
    ("list: nobody's", lambda s: s.bets("nobody"), Unknown, C.UNKNOWN_ACCOUNT),
]


def everything(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    with database.read() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(sa.select(table))]
            for table in metadata.sorted_tables
        }


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BetSubmission, Database]]:
    """Accounts, markets and bets of every kind, and the submission over them."""
    directory = tmp_path_factory.mktemp("bad-orders")
    stream = RecordingStream()
    with new_database(directory) as database:
        add_event(database)
        add_event(database, "over", "FINISHED")
        add_event(database, "abandoned", "ABANDONED")
        add_market(database, of_selections={1: "ACTIVE", 2: "ACTIVE", 3: "REMOVED"})
        for status in ("INACTIVE", "SUSPENDED", "CLOSED"):
            add_market(database, status.lower(), status=status)
        add_market(database, "orphan", event_id="unknown")
        for event_id in ("over", "abandoned"):
            add_market(database, event_id, event_id=event_id)
        add_account(database, funds_minor=7000)
        add_account(database, "a2", funds_minor=7000)
        add_account(database, "poor")
        add_account(database, "euro", funds_minor=7000, currency="EUR")
        for state in ("PENDING", "UNDELIVERABLE", "CLOSED"):
            add_account(database, state.lower(), state=state)
        with BetSubmission(
            Settings(data_dir=directory), database=database, publisher=stream, draw=_Named()
        ) as submission:
            mine = submission.submit(order("used", stake_minor=500)).bet
            theirs = submission.submit(order("used", account_id="a2", stake_minor=500)).bet
            over = submission.submit(order("over", stake_minor=500)).bet
            scrap = submission.submit(order("scrap", stake_minor=1000)).bet
            assert [bet.bet_id for bet in (mine, theirs, over, scrap)] == ["mine", "theirs", "over", "scrap"]
            applied(
                database,
                [
                    later(mine, status=BetStatus.OPEN),
                    later(theirs, status=BetStatus.OPEN),
                    later(over, status=BetStatus.CANCELLED, remaining_minor=0, cancelled_minor=500),
                    later(scrap, status=BetStatus.OPEN, remaining_minor=50, cancelled_minor=950),
                ],
            )
            submission.close()
        with BetSubmission(Settings(data_dir=directory), database=database, publisher=stream) as submission:
            yield submission, database


class _Named:
    """Draws names for bets, one after the other, and numbers for orders."""

    def __init__(self) -> None:
        self._names = iter(("mine", "theirs", "over", "scrap"))
        self._orders = 0

    def __call__(self, letter: str, now_us: int) -> str:
        if letter == "b":
            return next(self._names)
        self._orders += 1
        return f"{letter}{self._orders}"


def assert_helpful(refused: Refused, code: RefusalCode) -> None:
    assert refused.code is code
    assert refused.field
    assert refused.allowed
    assert len(str(refused)) < 400
    assert str(refused).isprintable()


@pytest.mark.parametrize(("changes", "kind", "code"), ORDERS, ids=lambda one: str(one)[:60])
def test_a_bad_order_is_refused_and_changes_nothing(
    known: tuple[BetSubmission, Database],
    changes: dict[str, Any],
    kind: type[Refused],
    code: RefusalCode,
) -> None:
    submission, database = known
    before = everything(database)
    values = {"submission_id": "new", **changes}
    with pytest.raises(kind) as refused:
        submission.submit(order(**values))
    assert_helpful(refused.value, code)
    assert everything(database) == before


@pytest.mark.parametrize(
    ("ask", "kind", "code"), [one[1:] for one in REQUESTS], ids=[one[0] for one in REQUESTS]
)
def test_a_bad_request_about_a_bet_is_refused_and_changes_nothing(
    known: tuple[BetSubmission, Database], ask: Ask, kind: type[Refused], code: RefusalCode
) -> None:
    submission, database = known
    before = everything(database)
    with pytest.raises(kind) as refused:
        ask(submission)
    assert_helpful(refused.value, code)
    assert everything(database) == before


def test_the_table_is_long_enough() -> None:
    assert len(ORDERS) + len(REQUESTS) >= 60


def test_every_refusal_that_a_bet_can_meet_is_in_the_table(tmp_path: Path) -> None:
    elsewhere = {  # tests of limits, wallets and pages
        C.STAKE_OVER_LIMIT,
        C.DEPOSIT_OVER_LIMIT,
        C.ON_BREAK,
        C.BREAK_NOT_LONGER,
        C.INVALID_AMOUNT,
        C.INVALID_CALLER,
        C.INVALID_LIMIT,
        C.INVALID_PAGE,
        C.BEING_REPLACED,
    }
    assert {code for *_, code in [*ORDERS, *REQUESTS]} == set(RefusalCode) - elsewhere
