"""Executions derived from recordings: the known figures, an independent checker, damage."""

from __future__ import annotations

import bz2
import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.domain.records import Execution, decode, encode
from exchange_platform.domain.windows import aggregate
from exchange_platform.exchanges.betfair.messages import Undecodable, decode_line
from exchange_platform.exchanges.betfair.recorded import DamagedLine, NotARecording, Recording
from exchange_platform.exchanges.betfair.volumes import Derived, VolumeLadders
from exchange_platform.stores.operational.bets.restatements import RestatementClass
from tests.exchange_platform.exchanges.betfair import checker
from tests.exchange_platform.exchanges.betfair.messages import definition, derive, line, rc, total, write

RECORDED = ["1.200806927.bz2", "1.197931750.bz2", "1.197931751.bz2"]


def _derived(path: Path) -> list[Derived]:
    ladders = VolumeLadders()
    return [ladders.apply(message, number) for number, message in Recording(path)]


def _trade(execution: Execution) -> checker.Trade:
    ms = round(execution.executed_at.timestamp() * 1000)
    exact = Fraction(execution.handicap), Fraction(execution.odds), Fraction(execution.stake)
    return checker.Trade(execution.market_id, execution.selection_id, *exact, ms)


def _agrees(derived: list[Derived], lines: list[bytes]) -> None:
    trades, restated = checker.derive(lines)
    assert [_trade(e) for each in derived for e in each.executions] == trades
    assert sum(len(each.restatements) for each in derived) == restated


@pytest.mark.parametrize(
    ("name", "executions", "stake", "restatements", "windows"),
    [
        ("1.200806927.bz2", 11_209, "228254.110", 28, 163),
        ("1.197931750.bz2", 809, "10916.480", 0, 12),
        ("1.197931751.bz2", 260, "1801.325", 0, 10),
    ],
)
def test_recordings_yield_the_known_figures(
    feeds: Path, name: str, executions: int, stake: str, restatements: int, windows: int
) -> None:
    derived = _derived(feeds / name)
    found = [execution for each in derived for execution in each.executions]
    assert (len(found), str(total(derived))) == (executions, stake)
    assert sum(len(each.restatements) for each in derived) == restatements
    assert len(aggregate(found)) == windows
    assert not any(each.refused for each in derived)


@pytest.mark.parametrize("name", RECORDED)
def test_an_independent_checker_agrees_execution_by_execution(feeds: Path, name: str) -> None:
    _agrees(_derived(feeds / name), bz2.decompress((feeds / name).read_bytes()).splitlines())


@pytest.mark.parametrize("name", RECORDED)
def test_ids_are_distinct_sort_as_recorded_and_survive_the_wire(feeds: Path, name: str) -> None:
    executions = [execution for each in _derived(feeds / name) for execution in each.executions]
    ids = [execution.execution_id for execution in executions]
    assert ids == sorted(set(ids))
    assert ids == [e.execution_id for each in _derived(feeds / name) for e in each.executions]
    assert all(re.fullmatch(r"[!-~]{1,96}", each) for each in ids)
    assert [decode(encode(execution)) for execution in executions] == executions


def test_restatements_of_the_cricket_market_are_re_ratings_and_the_clearing_after_the_result(
    feeds: Path,
) -> None:
    kinds = [r.kind for each in _derived(feeds / RECORDED[0]) for r in each.restatements]
    assert kinds == [RestatementClass.CURRENCY_RE_RATING] * 26 + [RestatementClass.AFTER_RESULT] * 2


_prices = st.sampled_from(["1.01", "2", "2.0", "2.00", "3.5", "1000"])
_sizes = st.one_of(st.just("0"), st.decimals("0", "50", places=2, allow_nan=False).map(str), st.just("10.01"))
_runner = st.builds(
    rc,
    st.sampled_from([7, 8]),
    st.lists(st.tuples(_prices, _sizes), max_size=4),
    st.sampled_from([None, "0", "-0.0", "-0.5", "1.50", "1.5"]),
)
_line = st.builds(
    lambda ms, runners, market, image: line(ms, *runners, market=market, img=image),
    st.integers(0, 600_000),
    st.lists(_runner, max_size=4),
    st.sampled_from(["1.2", "1.3"]),
    st.sampled_from([False, False, False, True]),
)


@given(st.lists(_line, max_size=12))
def test_the_checker_agrees_on_any_stream(lines: list[bytes]) -> None:
    derived = derive(lines)
    _agrees(derived, lines)
    assert derive(lines) == derived
    ids = [e.execution_id for each in derived for e in each.executions]
    ids += [r.restatement_id for each in derived for r in each.restatements]
    assert len(set(ids)) == len(ids)


def test_an_image_yields_nothing_and_forgets_the_rest() -> None:
    derived = derive(
        [
            line(0, rc(7, [("2", "10")]), rc(8, [("3", "4")])),
            line(1, rc(7, [("2", "6")]), img=True),
            line(2, rc(7, [("2", "7")]), rc(8, [("3", "5")])),
        ]
    )
    assert [[str(e.stake) for e in each.executions] for each in derived] == [["5", "2"], [], ["0.5", "2.5"]]
    assert not any(each.restatements for each in derived)


def test_one_fall_makes_the_whole_change_a_restatement() -> None:
    derived = derive(
        [
            line(0, rc(7, [("2", "10"), ("3", "8")])),
            line(1, rc(7, [("2", "30"), ("3", "0"), ("4", "1")])),
            line(2, rc(7, [("2", "31"), ("3", "2"), ("4", "1")])),
        ]
    )
    (restated,) = derived[1].restatements
    assert not derived[1].executions
    assert (restated.volume_change, restated.kind) == (Decimal(13), RestatementClass.OTHER)
    assert [(e.odds, e.stake) for e in derived[2].executions] == [
        (Decimal(2), Decimal("0.5")),
        (Decimal(3), Decimal(1)),
    ]


def test_a_half_penny_is_exact() -> None:
    (derived,) = derive([line(0, rc(7, [("2.5", "0.01")]))])
    assert str(derived.executions[0].stake) == "0.005"


def test_the_event_comes_from_the_definition_and_stays() -> None:
    derived = derive(
        [
            line(0, rc(7, [("2", "1")])),
            line(1, rc(7, [("2", "2")]), marketDefinition=definition("OPEN", r7="ACTIVE")),
            line(2, rc(7, [("2", "3")]), marketDefinition=definition("OPEN", event=None)),
        ]
    )
    assert [each.executions[0].event_id for each in derived] == ["unknown", "31389771", "31389771"]


@pytest.mark.parametrize(
    ("expected", "before", "after", "sizes"),
    [
        (RestatementClass.REMOVED_RUNNER, definition("OPEN", r7="ACTIVE", r8="ACTIVE"),
         definition("SUSPENDED", r7="ACTIVE", r8="REMOVED"), [("2", "0"), ("1.9", "100")]),
        (RestatementClass.AFTER_RESULT, definition("SUSPENDED", r7="ACTIVE"),
         definition("CLOSED", r7="WINNER"), [("2", "50")]),
        (RestatementClass.AFTER_RESULT, definition("OPEN", r7="ACTIVE"),
         definition("SUSPENDED", r7="ACTIVE"), [("2", "0"), ("4", "0")]),
        (RestatementClass.CURRENCY_RE_RATING, definition("OPEN", r7="ACTIVE"),
         None, [("2", "99.5"), ("4", "100.2")]),
        (RestatementClass.VOID, definition("SUSPENDED", r7="ACTIVE"), definition("OPEN", r7="ACTIVE"), [("2", "50")]),
        (RestatementClass.VOID, definition("OPEN", r7="ACTIVE"), definition("SUSPENDED", r7="ACTIVE"), [("2", "0")]),
        (RestatementClass.OTHER, definition("OPEN", r7="ACTIVE"), None, [("2", "50")]),
    ],
)  # fmt: skip
def test_classes_follow_the_market_s_state(
    expected: RestatementClass,
    before: dict[str, Any],
    after: dict[str, Any] | None,
    sizes: list[tuple[str, str]],
) -> None:
    first = line(0, rc(7, [("2", "100"), ("4", "100")]), marketDefinition=before)
    later: dict[str, Any] = {} if after is None else {"marketDefinition": after}
    assert derive([first, line(1, rc(7, sizes), **later)])[1].restatements[0].kind is expected


@pytest.mark.parametrize(
    "trd", [("1.001", "1"), ("1001", "1"), ("2.0001", "1"), ("2", "0.0001"), ("2", "9e13")]
)
def test_what_no_record_can_hold_is_refused_and_the_rest_goes_on(trd: tuple[str, str]) -> None:
    derived = derive([line(0, rc(7, [trd, ("3", "2")]))])[0]
    assert [(e.odds, e.stake) for e in derived.executions] == [(Decimal(3), Decimal(1))]
    assert re.search("odds|stake", derived.refused[0].reason)


@pytest.mark.parametrize(
    "damaged",
    [
        b"{", b"\xff\xfe", b"[]", b"null", b'{"op":"mcm"}', b'{"op":"mcm","pt":-1}', b'{"op":"mcm","pt":1.5}', b"[" * 100_000,
        line(0, rc(7, [("2", "-1")])), line(0, rc(7, [("0", "1")])), line(0, rc(7, [("2", "1e400")])),
        line(0, rc(7, [("2", '"NaN"')])), line(0, rc(7, [("2", '"x"')])), line(0, rc(7, [("2", "null")])),
        line(0, rc(7, [], "1e99999999")), line(0, rc(7, [], '"sNaN"')), line(0, rc(-1, [])),
        line(0, market="with space"), line(0, market="m" * 65), line(0, marketDefinition={"eventId": ""}),
        b'{"op":"mcm","pt":1650392673420,"mc":[{"id":"1.2","rc":[{"id":7,"trd":[[2]]}]}]}',
    ],
)  # fmt: skip
def test_a_damaged_line_is_reported_with_its_number_and_the_rest_goes_on(
    tmp_path: Path, damaged: bytes
) -> None:
    path = write(tmp_path / "r", [line(0, rc(7, [("2", "1")])), b"", damaged, line(1, rc(7, [("2", "3")]))])
    recording = Recording(path)
    assert [number for number, _ in recording] == [1, 4]
    assert recording.damaged.count == 1
    (report,) = recording.damaged.first
    assert isinstance(report, DamagedLine)
    assert (report.file, report.line, bool(report.reason)) == (path, 3, True)


def test_a_damaged_line_is_refused_whole() -> None:
    with pytest.raises(Undecodable, match="-1"):
        decode_line(line(0, rc(7, [("2", "1")]), rc(8, [("2", "-1")])))


def test_a_thousand_damaged_lines_are_counted_and_the_first_kept(tmp_path: Path) -> None:
    recording = Recording(write(tmp_path / "r", [line(0), *[b"?"] * 1000]))
    assert len(list(recording)) == 1
    assert (recording.damaged.count, len(recording.damaged.first)) == (1000, 100)


@pytest.mark.parametrize("op", ["connection", "status", "ccm"])
def test_messages_of_other_kinds_are_passed_over(tmp_path: Path, op: str) -> None:
    other = b'{"op":"%s","id":2,"cc":[]}' % op.encode()
    recording = Recording(write(tmp_path / "r", [other, line(0), other]))
    assert [number for number, _ in recording] == [2]
    assert recording.damaged.count == 0


def test_windows_line_ends_a_byte_order_mark_and_a_missing_last_line_end_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_bytes(b"\xef\xbb\xbf" + line(0) + b"\r\n" + line(1))
    recording = Recording(path)
    assert (len(list(recording)), recording.damaged.count) == (2, 0)


def test_no_recording_is_refused_with_what_it_is(tmp_path: Path) -> None:
    cases = {
        "is empty": b"",
        "no recorded market stream": b"a,b\n1,2\n",
        "none of a market stream": b'{"op":"ccm","pt":1657535556281,"cc":[]}\n',
        "can't be read": bz2.compress(line(0) * 100)[:60],
        "not JSON": b"\n\n\n",
    }
    for number, (expected, content) in enumerate(cases.items()):
        path = tmp_path / f"{number}"
        path.write_bytes(content)
        with pytest.raises(NotARecording, match=expected):
            Recording(path)
    with pytest.raises(NotARecording, match="is a directory"):
        Recording(tmp_path)
    with pytest.raises(NotARecording, match="does not exist"):
        Recording(tmp_path / "missing")


def test_the_sports_data_of_an_event_is_refused(feeds: Path) -> None:
    with pytest.raises(NotARecording, match="none of a market stream"):
        Recording(feeds / "1.200806927.sportsdata.bz2")


def test_a_bz2_that_breaks_in_the_middle_is_read_so_far_and_reported(tmp_path: Path, feeds: Path) -> None:
    whole = (feeds / RECORDED[0]).read_bytes()
    truncated, rotten = tmp_path / "truncated.bz2", tmp_path / "rotten.bz2"
    truncated.write_bytes(whole[: len(whole) * 3 // 4])
    rotten.write_bytes(whole[: len(whole) * 3 // 4] + b"\0" * (len(whole) // 4))
    complete = [execution for each in _derived(feeds / RECORDED[0]) for execution in each.executions]
    for path in (truncated, rotten):
        recording = Recording(path)
        ladders = VolumeLadders()
        numbers, executions = [], []
        for number, message in recording:
            numbers.append(number)
            executions += ladders.apply(message, number).executions
        assert 1000 < len(numbers) < 18_529
        assert executions == complete[: len(executions)]
        assert recording.damaged.first[0].line == numbers[-1] + 1
        assert "breaks" in recording.damaged.first[0].reason


def test_progress_ends_at_the_file_s_size(feeds: Path) -> None:
    recording = Recording(feeds / RECORDED[0])
    seen = [recording.bytes_read for _ in recording]
    assert seen == sorted(seen)
    assert 0 < seen[0] < seen[-1] <= recording.total_bytes == recording.bytes_read
