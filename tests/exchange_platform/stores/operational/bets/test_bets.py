"""What a batch of bet updates changes in the operational database."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exchange_platform.domain.bets import Bet, BetResult, BetStatus, Side
from exchange_platform.domain.records import BetUpdate
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.verdicts import Verdict
from tests.exchange_platform.stores.bet_lives import (
    Change,
    accepted,
    ended_as,
    later,
    lost,
    matched,
    opened,
    part_matched,
    part_voided,
    rest_cancelled,
    rest_lapsed,
    settled,
    unsettled,
    untouched,
    voided,
    won,
)
from tests.exchange_platform.stores.bet_tables import Rows, applied, new_database, stored
from tests.support.workload import matched_pairs


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with new_database(tmp_path) as database:
        yield database


def only_profile(database: Database) -> dict[str, Any]:
    (profile,) = stored(database)["profiles"]
    return profile


def bet_updates(pairs: int, **choices: Any) -> list[BetUpdate]:
    return [record for record in matched_pairs(pairs, **choices) if isinstance(record, BetUpdate)]


# Sums.


@pytest.mark.parametrize("settle", [True, False])
def test_a_profiles_balance_and_exposure_are_the_sums_of_its_ledger(database: Database, settle: bool) -> None:
    updates = bet_updates(300, users=20, markets=5, settle=settle)
    verdicts = applied(database, updates, batch=100)
    assert verdicts == [Verdict(True)] * len(updates)
    rows = stored(database)
    sums: Counter[tuple[str, str]] = Counter()
    for entry in rows["ledger"]:
        sums[entry["user_id"], entry["account"]] += entry["amount_minor"]
    assert len(rows["profiles"]) == 20
    for profile in rows["profiles"]:
        assert profile["balance_minor"] == sums[profile["user_id"], "balance"]
        assert profile["exposure_minor"] == sums[profile["user_id"], "exposure"]
    if settle:
        assert rows["positions"] == rows["market_exposures"] == []
        assert {profile["exposure_minor"] for profile in rows["profiles"]} == {0}
        assert any(profile["balance_minor"] for profile in rows["profiles"])
    else:
        assert any(profile["exposure_minor"] for profile in rows["profiles"])


@pytest.mark.parametrize("settle", [True, False])
def test_the_tables_are_the_same_whatever_the_batch_size(tmp_path: Path, settle: bool) -> None:
    updates = bet_updates(150, users=12, markets=3, settle=settle)
    outcomes: list[Rows] = []
    for size in (1, 7, 1000):
        with new_database(tmp_path / str(size)) as database:
            applied(database, updates, batch=size)
            outcomes.append(stored(database))
    assert outcomes[0]["bets"]
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_what_matched_bets_win_and_lose_sums_to_nothing_before_commission(database: Database) -> None:
    applied(database, bet_updates(200, users=9))
    assert sum(profile["profit_minor"] for profile in stored(database)["profiles"]) == 0


# Versions.


@pytest.mark.parametrize("batch", [1, 1000])
def test_stale_and_repeated_versions_change_nothing(database: Database, batch: int) -> None:
    updates = bet_updates(60, users=6)
    applied(database, updates, batch=batch)
    before = stored(database)
    assert applied(database, updates, batch=batch) == [Verdict(False)] * len(updates)
    assert stored(database) == before


def test_a_version_repeated_inside_a_batch_is_applied_once(database: Database) -> None:
    first = opened()
    second = matched(first)
    verdicts = applied(database, [first, first, second, first, second])
    assert [verdict.applied for verdict in verdicts] == [True, False, True, False, False]
    assert all(verdict.reason is None for verdict in verdicts)
    assert only_profile(database)["version"] == 2


def test_a_missed_version_is_applied(database: Database) -> None:
    pending = opened(status=BetStatus.PENDING)
    won = settled(matched(later(pending, status=BetStatus.OPEN)), BetResult.WON)
    assert won.version == 4
    assert applied(database, [pending, won]) == [Verdict(True)] * 2
    profile = only_profile(database)
    assert (profile["balance_minor"], profile["exposure_minor"]) == (won.net_profit_minor, 0)


def test_a_bet_first_seen_when_settled_is_applied(database: Database) -> None:
    lost = settled(matched(opened()), BetResult.LOST)
    assert applied(database, [lost]) == [Verdict(True)]
    profile = only_profile(database)
    assert (profile["balance_minor"], profile["bets"], profile["lost_bets"]) == (-1000, 1, 1)


# Refusals.


def same_user_in_euros(_: Bet) -> Bet:
    return opened(bet_id="b2", currency="EUR")


REFUSED: dict[str, tuple[Change, str]] = {
    "from a final status": (
        lambda bet: later(voided(bet), status=BetStatus.CANCELLED),
        "from VOIDED .* allowed: nothing: it is final",
    ),
    "stake": (lambda bet: later(bet, stake_minor=2000, matched_minor=2000), "stake_minor changed from 1000"),
    "owner": (lambda bet: later(bet, user_id="u2"), "user_id changed"),
    "back to open": (
        lambda bet: later(bet, status=BetStatus.OPEN, matched_minor=400, remaining_minor=600),
        "from MATCHED",
    ),
    "match undone": (
        lambda bet: later(bet, matched_minor=400, cancelled_minor=600),
        r"matched \+ voided fell",
    ),
    "currency": (same_user_in_euros, "currency EUR of bet b2; user u1 has GBP"),
}


@pytest.mark.parametrize("alone", [True, False], ids=["in a later batch", "in the same batch"])
@pytest.mark.parametrize("what", REFUSED)
def test_a_contradiction_is_refused_with_a_reason_and_changes_nothing(
    tmp_path: Path, what: str, alone: bool
) -> None:
    bet = matched(opened())
    refuse, reason = REFUSED[what]
    known = [voided(bet)] if what == "from a final status" else [opened(), bet]
    after = opened(bet_id="b3", selection_id=2, stake_minor=1, remaining_minor=1)
    outcomes: list[Rows] = []
    for name, updates in (("with", [*known, refuse(bet), after]), ("without", [*known, after])):
        with new_database(tmp_path / name) as database:
            verdicts = applied(database, updates, batch=1 if alone else 1000)
            outcomes.append(stored(database))
            if name == "with":
                refused = verdicts.pop(-2)
                assert not refused.applied
                assert re.search(reason, refused.reason or "")
            assert verdicts == [Verdict(True)] * len(verdicts)
    assert outcomes[0] == outcomes[1]


def test_a_refused_bet_does_not_make_a_profile(database: Database) -> None:
    applied(database, [opened()])
    applied(database, [later(opened(), user_id="u2")])
    assert only_profile(database)["user_id"] == "u1"


# Exposure.


def test_an_open_back_exposes_its_stake_and_an_open_lay_its_liability(database: Database) -> None:
    applied(database, [opened(), opened(bet_id="b2", user_id="u2", side=Side.LAY)])
    exposures = {row["user_id"]: row["exposure_minor"] for row in stored(database)["profiles"]}
    assert exposures == {"u1": 1000, "u2": 2000}


def test_a_reducing_bet_lowers_exposure_and_it_never_turns_negative(database: Database) -> None:
    back = matched(opened())
    lay = matched(opened(bet_id="b2", side=Side.LAY, odds=Decimal(2), stake_minor=1500, remaining_minor=1500))
    applied(database, [back])
    assert only_profile(database)["exposure_minor"] == 1000
    applied(database, [lay])
    # If the selection wins 2000 - 1500, if it loses -1000 + 1500: nothing can be lost any more.
    rows = stored(database)
    assert [(row["if_wins_minor"], row["if_loses_minor"]) for row in rows["positions"]] == [(500, 500)]
    assert rows["market_exposures"][0]["exposure_minor"] == rows["profiles"][0]["exposure_minor"] == 0
    exposure_entries = [
        row["amount_minor"]
        for row in rows["ledger"]
        if row["account"] == "exposure" and row["reference"] == "b2"
    ]
    assert exposure_entries == [-1000]


def test_positions_on_handicaps_of_one_selection_stand_apart(database: Database) -> None:
    applied(
        database,
        [
            opened(handicap=Decimal("-0.50")),
            opened(bet_id="b2", handicap=Decimal("0.5")),
            opened(bet_id="b3", handicap=Decimal("-0.5")),
        ],
    )
    found = {row["handicap"]: row["if_loses_minor"] for row in stored(database)["positions"]}
    assert found == {"-0.5": -2000, "0.5": -1000}


def test_a_position_that_cancels_out_leaves_no_row(database: Database) -> None:
    bet = matched(opened())
    applied(database, [bet, matched(opened(bet_id="b2", side=Side.LAY))])
    rows = stored(database)
    assert rows["positions"] == rows["market_exposures"] == []
    assert only_profile(database)["exposure_minor"] == 0


def test_a_later_bet_in_a_market_that_emptied_starts_from_nothing(database: Database) -> None:
    bet = opened()
    applied(database, [bet, voided(bet), opened(bet_id="b2", stake_minor=300, remaining_minor=300)], batch=1)
    assert only_profile(database)["exposure_minor"] == 300


# Settlement.


@pytest.mark.parametrize("result", list(BetResult))
@pytest.mark.parametrize("side", list(Side))
def test_settlement_pays_the_net_profit_and_frees_the_exposure(
    database: Database, side: Side, result: BetResult
) -> None:
    bet = settled(matched(opened(side=side)), result)
    applied(database, [opened(side=side), matched(opened(side=side)), bet], batch=1)
    profile = only_profile(database)
    assert profile["balance_minor"] == bet.net_profit_minor
    assert (profile["profit_minor"], profile["commission_minor"]) == (bet.profit_minor, bet.commission_minor)
    assert (profile["exposure_minor"], profile["open_bets"], profile["settled_bets"]) == (0, 0, 1)


@pytest.mark.parametrize("batch", [1, 1000])
def test_settling_unsettling_and_settling_again_leaves_the_last_net_profit(
    database: Database, batch: int
) -> None:
    first = opened()
    fill = matched(first)
    won = settled(fill, BetResult.WON)
    taken_back = unsettled(won)
    lost = settled(taken_back, BetResult.LOST)
    applied(database, [first, fill, won, taken_back], batch=batch)
    profile = only_profile(database)
    assert (profile["balance_minor"], profile["exposure_minor"], profile["won_bets"]) == (0, 1000, 0)
    applied(database, [lost], batch=batch)
    profile = only_profile(database)
    assert profile["balance_minor"] == lost.net_profit_minor == -1000
    assert (profile["exposure_minor"], profile["won_bets"], profile["lost_bets"]) == (0, 0, 1)


def test_a_settlement_corrected_without_unsettling_leaves_the_corrected_net_profit(
    database: Database,
) -> None:
    won = settled(matched(opened()), BetResult.WON)
    corrected = settled(won, BetResult.LOST)
    applied(database, [won, corrected])
    assert only_profile(database)["balance_minor"] == -1000


@pytest.mark.parametrize("through", [(), (matched,), (matched, lambda bet: settled(bet, BetResult.WON))])
def test_a_void_returns_everything(database: Database, through: Sequence[Change]) -> None:
    life = [opened()]
    for change in through:
        life.append(change(life[-1]))
    life.append(voided(life[-1]))
    applied(database, life, batch=1)
    rows = stored(database)
    profile = only_profile(database)
    for name in ("balance_minor", "exposure_minor", "profit_minor", "commission_minor", "matched_minor"):
        assert profile[name] == 0, name
    assert rows["positions"] == rows["market_exposures"] == []
    assert rows["bets"][0]["voided_minor"] == 1000


# The outbox.


@pytest.mark.parametrize(
    ("first", "life", "changes"),
    [
        (BetStatus.OPEN, [matched, won], ["accepted", "matched", "settled"]),
        (BetStatus.PENDING, [accepted, matched], [None, "accepted", "matched"]),
        (BetStatus.PENDING, [matched], [None, "matched"]),
        (BetStatus.PENDING, [ended_as(BetStatus.REJECTED, "cancelled_minor")], [None, "rejected"]),
        (BetStatus.OPEN, [untouched, untouched], ["accepted", None, None]),
        (
            BetStatus.OPEN,
            [part_matched, rest_cancelled, part_voided],
            ["accepted", "matched", "cancelled", "voided"],
        ),
        (BetStatus.OPEN, [part_matched, rest_lapsed], ["accepted", "matched", "lapsed"]),
        (BetStatus.OPEN, [ended_as(BetStatus.CANCELLED, "cancelled_minor")], ["accepted", "cancelled"]),
        (BetStatus.OPEN, [ended_as(BetStatus.LAPSED, "lapsed_minor")], ["accepted", "lapsed"]),
        (BetStatus.OPEN, [matched, voided], ["accepted", "matched", "voided"]),
        (
            BetStatus.OPEN,
            [matched, won, unsettled, won, lost, untouched, voided],
            ["accepted", "matched", "settled", "unsettled", "settled", "settled", None, "voided"],
        ),
    ],
)
@pytest.mark.parametrize("batch", [1, 1000])
def test_the_owner_is_told_once_of_each_change_by_its_name(
    database: Database, first: BetStatus, life: Sequence[Change], changes: Sequence[str | None], batch: int
) -> None:
    bet = opened(status=first)
    updates = [bet]
    for change in life:
        updates.append(change(updates[-1]))
    assert applied(database, updates, batch=batch) == [Verdict(True)] * len(updates)
    told = {row["bet_version"]: row for row in stored(database)["notification_outbox"]}
    assert [
        told[version]["change"] if version in told else None for version in range(1, len(updates) + 1)
    ] == [*changes]
    for version, row in told.items():
        assert row["status_before"] == (updates[version - 2].status.value if version > 1 else None)
        assert row["status_after"] == updates[version - 1].status.value
        assert msgspec.json.decode(row["bet"], type=Bet) == updates[version - 1]
        assert json.loads(row["bet"])["version"] == version
