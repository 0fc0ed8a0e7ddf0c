"""Requests are the same by what they ask for, whatever they are called."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from exchange_platform.domain.bet_ids import draw_id
from exchange_platform.domain.bet_requests import (
    CancelBet,
    ReplaceBet,
    Submission,
    caller_id,
    content_sha256,
    decode_answer,
    encode_answer,
)
from exchange_platform.domain.bets import BetStatus, Side
from tests.exchange_platform.betting import NOW, order
from tests.exchange_platform.stores.bet_lives import opened


def test_the_ids_are_no_part_of_the_content() -> None:
    assert content_sha256(order("s1")) == content_sha256(order("s2", account_id="a2"))


def test_odds_written_otherwise_are_the_same_content() -> None:
    same = {content_sha256(order(odds=Decimal(text))) for text in ("2.5", "2.50", "2.500", "25E-1")}
    assert len(same) == 1
    assert content_sha256(order(odds=Decimal(1000))) == content_sha256(order(odds=Decimal("1E+3")))
    assert content_sha256(order(handicap=Decimal("-0"))) == content_sha256(order())


@pytest.mark.parametrize(
    "changes",
    [
        {"market_id": "m2"},
        {"selection_id": 2},
        {"handicap": Decimal("0.5")},
        {"side": Side.LAY},
        {"odds": Decimal("3.05")},
        {"odds": None},
        {"currency": "EUR"},
        {"stake_minor": 1001},
    ],
    ids=str,
)
def test_whatever_else_differs_is_other_content(changes: dict[str, Any]) -> None:
    assert content_sha256(order(**changes)) != content_sha256(order())


def test_kinds_of_requests_never_have_the_same_content() -> None:
    cancel = CancelBet(account_id="a1", bet_id="b1", request_id="r")
    replace = ReplaceBet(account_id="a1", bet_id="b1", odds=Decimal(3), request_id="r")
    assert len({content_sha256(one) for one in (order(), cancel, replace)}) == 3
    assert [caller_id(one) for one in (order("s1"), cancel, replace)] == ["s1", "r", "r"]


def test_an_answer_comes_back_as_it_went() -> None:
    bet = opened(status=BetStatus.PENDING)
    answer = Submission(submission_id="s1", bet=bet, replaces="b0", submitted_at=NOW)
    assert decode_answer(encode_answer(answer)) == answer


def test_ids_sort_by_time_and_never_recur() -> None:
    drawn = [draw_id("b", now_us) for now_us in (0, 31, 32, 10**15, 2 * 10**15) for _ in range(200)]
    assert len(set(drawn)) == 1000
    assert {len(one) for one in drawn} == {22}
    assert [one[:12] for one in drawn] == sorted(one[:12] for one in drawn)
