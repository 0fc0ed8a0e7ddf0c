"""Random legal lives of bets: what the operational database makes of them, against brute force."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from exchange_platform.domain.bets import FLAT, LIVE, Bet, BetResult, BetStatus, Position, Side
from exchange_platform.stores.operational.bets.bets import apply_bet_updates
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.verdicts import Verdict
from tests.exchange_platform.stores.bet_lives import MARKETS, feeds
from tests.exchange_platform.stores.bet_tables import all_rows, new_database


@pytest.fixture(scope="module")
def shared_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One for the many examples, each of which rolls back what it wrote."""
    with new_database(tmp_path_factory.mktemp("shared")) as database:
        yield database


def _worst_outcome(held: dict[int, Position], winners: int, selections: int) -> int:
    """The most that can be lost over every set of winners, by trying them all."""
    return max(
        0,
        *(
            -sum(
                position.if_wins_minor if selection in won_by else position.if_loses_minor
                for selection, position in held.items()
            )
            for won_by in itertools.combinations(range(1, selections + 1), winners)
        ),
    )


def _exposes(bet: Bet) -> Position:
    """What a live bet wins and loses, its unmatched part at its worst; written again here, not
    `Bet.position`.
    """
    if bet.status not in LIVE:
        return FLAT
    rest_liability = math.ceil(bet.remaining_minor * (bet.odds - 1))
    if bet.side is Side.BACK:
        return Position(bet.matched_winnings_minor, -(bet.stake_minor - _gone(bet)))
    return Position(-(bet.matched_winnings_minor + rest_liability), bet.matched_minor)


def _gone(bet: Bet) -> int:
    return bet.cancelled_minor + bet.lapsed_minor + bet.voided_minor


@hypothesis_settings(max_examples=200, deadline=None)
@given(feed=feeds(), batch=st.sampled_from([1, 3, 1000]))
def test_positions_exposures_and_profiles_follow_from_the_final_bets_alone(
    shared_database: Database, feed: list[Bet], batch: int
) -> None:
    with shared_database.engine.connect() as connection:
        verdicts: list[Verdict] = []
        for start in range(0, len(feed), batch):
            verdicts += apply_bet_updates(connection, feed[start : start + batch])
        rows = all_rows(connection)
        connection.rollback()
    assert [verdict.reason for verdict in verdicts] == [None] * len(feed)

    final: dict[str, Bet] = {}
    applied_updates: Counter[str] = Counter()
    for bet in feed:
        if bet.bet_id not in final or bet.version > final[bet.bet_id].version:
            final[bet.bet_id] = bet
            applied_updates[bet.user_id] += 1
    assert {row["bet_id"]: row["version"] for row in rows["bets"]} == {
        bet.bet_id: bet.version for bet in final.values()
    }

    held: dict[tuple[str, str], dict[int, Position]] = defaultdict(lambda: defaultdict(lambda: FLAT))
    for bet in final.values():
        selections = held[bet.user_id, bet.market_id]
        selections[bet.selection_id] = selections[bet.selection_id] + _exposes(bet)
    assert {
        (row["user_id"], row["market_id"], row["selection_id"]): Position(
            row["if_wins_minor"], row["if_loses_minor"]
        )
        for row in rows["positions"]
    } == {
        (*key, selection): position
        for key, selections in held.items()
        for selection, position in selections.items()
        if position != FLAT
    }
    exposures = {key: _worst_outcome(selections, *MARKETS[key[1]]) for key, selections in held.items()}
    stored_exposures = {
        (row["user_id"], row["market_id"]): row["exposure_minor"] for row in rows["market_exposures"]
    }
    assert all(exposure >= 0 for exposure in stored_exposures.values())
    assert {key: stored_exposures.get(key, 0) for key in exposures} == exposures

    sums: Counter[tuple[str, str]] = Counter()
    for entry in rows["ledger"]:
        sums[entry["user_id"], entry["account"]] += entry["amount_minor"]
    for profile in rows["profiles"]:
        user = profile["user_id"]
        own = [bet for bet in final.values() if bet.user_id == user]
        placed = [bet for bet in own if bet.status is not BetStatus.REJECTED]
        expected = {
            "user_id": user,
            "currency": "GBP",
            "version": applied_updates[user],
            "balance_minor": sum(bet.net_profit_minor for bet in own),
            "exposure_minor": sum(exposure for key, exposure in exposures.items() if key[0] == user),
            "profit_minor": sum(bet.profit_minor for bet in own),
            "commission_minor": sum(bet.commission_minor for bet in own),
            "bets": len(placed),
            "open_bets": sum(bet.status in LIVE for bet in own),
            "matched_bets": sum(bet.matched_minor > 0 for bet in own),
            "settled_bets": sum(bet.status is BetStatus.SETTLED for bet in own),
            "won_bets": sum(bet.result is BetResult.WON for bet in own),
            "lost_bets": sum(bet.result is BetResult.LOST for bet in own),
            "staked_minor": sum(bet.stake_minor for bet in placed),
            "matched_minor": sum(bet.matched_minor for bet in own),
        }
        assert {name: profile[name] for name in expected} == expected
        assert sums[user, "balance"] == expected["balance_minor"]
        assert sums[user, "exposure"] == expected["exposure_minor"]
    assert {profile["user_id"] for profile in rows["profiles"]} == set(applied_updates)
