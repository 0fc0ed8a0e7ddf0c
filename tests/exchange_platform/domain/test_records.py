"""Stream records: exact round trips, strict decoding, the exported schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.domain import events, orders
from exchange_platform.domain.odds import CLASSIC
from exchange_platform.domain.records import (
    BetUpdate,
    Execution,
    UndecodableRecord,
    decode,
    encode,
    json_schema,
)
from tests.support.workload import matched_pairs

DOCUMENTS = Path(__file__).parents[3] / "docs"

ids = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)
executions = st.builds(
    Execution,
    execution_id=ids,
    event_id=ids,
    market_id=ids,
    selection_id=st.integers(0, 2**53 - 1),
    handicap=st.decimals(-1000, 1000, places=2),
    odds=st.one_of(st.sampled_from(list(CLASSIC)), st.decimals("1.01", "1000", places=3)),
    stake=st.decimals("0.001", 10**12, places=3),
    executed_at=st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001
    back_bet_id=st.none() | ids,
    lay_bet_id=st.none() | ids,
)


def _execution(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "execution",
        "v": 1,
        "execution_id": "x1",
        "event_id": "e1",
        "market_id": "1.2",
        "selection_id": 7,
        "odds": "2.5",
        "stake": "10.005",
        "executed_at": "2026-11-24T12:00:00Z",
    } | changes


def _bet_update(**changes: Any) -> dict[str, Any]:
    update = next(record for record in matched_pairs(1) if isinstance(record, BetUpdate))
    values: dict[str, Any] = json.loads(encode(update))
    return values | changes


@given(executions)
def test_an_execution_survives_encoding_exactly(execution: Execution) -> None:
    assert decode(encode(execution)) == execution


def test_bet_updates_survive_encoding_exactly() -> None:
    for record in matched_pairs(50):
        assert decode(encode(record)) == record


def test_records_are_what_the_schema_says() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    for record in matched_pairs(5):
        validator.validate(json.loads(encode(record)))
    assert list(validator.iter_errors(_execution(kind="wager")))
    assert list(validator.iter_errors(_execution(surprise=1)))


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("exchange-bets", json_schema),
        ("bet-orders", orders.json_schema),
        ("exchange-feed", events.json_schema),
    ],
)
def test_the_documented_schema_is_the_code_s(name: str, schema: Callable[[], dict[str, Any]]) -> None:
    assert json.loads((DOCUMENTS / f"{name}.schema.json").read_text()) == json.loads(json.dumps(schema()))


def test_numbers_may_travel_as_json_numbers() -> None:
    record = decode(json.dumps(_execution(odds=2.5, stake=10)).encode())
    assert isinstance(record, Execution)
    assert record.odds == Decimal("2.5")


def test_other_offsets_are_the_same_instant() -> None:
    record = decode(json.dumps(_execution(executed_at="2026-11-24T14:00:00+02:00")).encode())
    assert isinstance(record, Execution)
    assert record.executed_at == datetime(2026, 11, 24, 14, tzinfo=timezone(timedelta(hours=2)))


BAD: dict[str, dict[str, Any]] = {
    "no kind": {"kind": None},
    "unknown kind": {"kind": "wager"},
    "unknown version": {"v": 2},
    "version as text": {"v": "1"},
    "unknown field": {"colour": "red"},
    "empty id": {"execution_id": ""},
    "id with a space": {"market_id": "1 2"},
    "id with a control character": {"market_id": "1\u0000"},
    "megabyte of id": {"event_id": "x" * 1_000_000},
    "id as number": {"market_id": 1.2},
    "negative selection": {"selection_id": -1},
    "selection as text": {"selection_id": "7"},
    "odds of one": {"odds": "1"},
    "odds below": {"odds": "1.005"},
    "odds above": {"odds": "1000.01"},
    "odds not a number": {"odds": "NaN"},
    "infinite odds": {"odds": "Infinity"},
    "huge odds": {"odds": "1e400"},
    "tiny odds": {"odds": "1e-400"},
    "odds with many decimals": {"odds": "2.12345"},
    "odds as words": {"odds": "two"},
    "no stake": {"stake": "0"},
    "negative stake": {"stake": "-5"},
    "stake with many decimals": {"stake": "1.0001"},
    "absurd stake": {"stake": "1e30"},
    "time without offset": {"executed_at": "2026-11-24T12:00:00"},
    "time as number": {"executed_at": 5},
    "absurd year": {"executed_at": "9999-01-01T00:00:00Z"},
    "early year": {"executed_at": "0001-01-01T00:00:00Z"},
    "missing field": {"odds": None},
    "handicap beyond": {"handicap": "5000"},
}


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_execution_is_refused_with_a_reason(name: str) -> None:
    with pytest.raises(UndecodableRecord) as refused:
        decode(json.dumps(_execution(**BAD[name])).encode())
    assert 3 < len(str(refused.value)) <= 500


@pytest.mark.parametrize(
    "changes",
    [
        {"remaining_minor": 1},
        {"status": "HALF"},
        {"side": "both"},
        {"stake_minor": 0},
        {"stake_minor": 1.5},
        {"version": 0},
        {"currency": "gbp"},
        {"user_id": None},
        {"profit_minor": 10**20},
        {"number_of_winners": 0},
        {"reason": "x" * 201},
    ],
)
def test_a_damaged_bet_update_is_refused_with_a_reason(changes: dict[str, Any]) -> None:
    with pytest.raises(UndecodableRecord):
        decode(json.dumps(_bet_update(**changes)).encode())


@given(st.binary(max_size=300))
def test_arbitrary_bytes_only_ever_raise_undecodable(data: bytes) -> None:
    with pytest.raises(UndecodableRecord):
        decode(data)


@given(executions, st.data())
def test_a_truncated_record_is_refused(execution: Execution, data: st.DataObject) -> None:
    encoded = encode(execution)
    with pytest.raises(UndecodableRecord):
        decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"kind":' * 10_000,
        b"\xff\xfe" + b"{}",
        b'{"kind":"execution","execution_id":"\xff"}',
        b"null",
        b"[]",
        b"1",
        b'"execution"',
        b"",
        b"\x00",
    ],
)
def test_what_is_no_record_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(UndecodableRecord):
        decode(data)
