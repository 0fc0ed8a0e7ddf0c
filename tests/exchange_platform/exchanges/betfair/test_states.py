"""Events and markets as Betfair's streams tell them: statuses, names, scores, versions; on the recordings and
on small streams.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.domain.events import (
    EventStatus,
    EventUpdate,
    FeedUpdate,
    MarketStatus,
    MarketUpdate,
    SelectionStatus,
    decode_update,
    encode_update,
)
from exchange_platform.exchanges.betfair.messages import decode_line, decode_sports_line
from exchange_platform.exchanges.betfair.states import TRADED_EVERY_MS, FeedStates
from exchange_platform.exchanges.betfair.volumes import VolumeLadders
from exchange_platform.exchanges.betfair.wording import ordinal
from tests.exchange_platform.exchanges.betfair.messages import RAW, START_MS, definition, line, rc
from tests.exchange_platform.exchanges.betfair.test_replay import replayed_updates

CRICKET = ("1.200806927.bz2", "1.200806927.sportsdata.bz2")
EVENT, MARKET = "31573045", "1.200806927"


def sports(ms: int, event: str = "31389771", **of_event: Any) -> bytes:
    """A message of the sports data about one event."""
    change = {"eventId": event, **of_event}
    return json.dumps({"op": "ccm", "id": 2, "clk": "A", "pt": START_MS + ms, "cc": [change]}).encode()


def told(lines: Sequence[bytes], states: FeedStates | None = None) -> list[FeedUpdate]:
    """What a stream tells, each update as it survives the wire."""
    states = states or FeedStates()
    ladders = VolumeLadders()
    updates: list[FeedUpdate] = []
    for number, each in enumerate(lines, 1):
        message = decode_line(each)
        if message is None:
            of_sports = decode_sports_line(each)
            updates += states.after_sports(of_sports) if of_sports is not None else []
        else:
            ladders.apply(message, number)
            updates += states.after(message, ladders.traded)
    for update in updates:
        assert decode_update(encode_update(update)) == update
    return updates


def of_event(updates: Sequence[FeedUpdate], event_id: str = "31389771") -> list[EventUpdate]:
    return [one for one in updates if isinstance(one, EventUpdate) and one.event_id == event_id]


def of_market(updates: Sequence[FeedUpdate], market_id: str = "1.2") -> list[MarketUpdate]:
    return [one for one in updates if isinstance(one, MarketUpdate) and one.market_id == market_id]


def is_growing(updates: Sequence[FeedUpdate]) -> bool:
    versions: dict[str, int] = {}
    for update in updates:
        key = update.event_id if isinstance(update, EventUpdate) else update.market_id
        if update.version <= versions.get(key, 0):
            return False
        versions[key] = update.version
    return True


# The recordings.


@pytest.fixture(scope="module")
def cricket(feeds: Path) -> Sequence[FeedUpdate]:
    """What the match is told as. Only look."""
    return replayed_updates([feeds / name for name in CRICKET])


def test_the_cricket_match_is_told_as_it_was_recorded(cricket: Sequence[FeedUpdate]) -> None:
    assert is_growing(cricket)
    assert {update.event_id for update in cricket} == {EVENT}
    market = of_market(cricket, MARKET)
    turns = [market[0]] + [
        after for before, after in itertools.pairwise(market) if before.status is not after.status
    ]
    assert [(turn.status.value, turn.in_play, turn.updated_at.strftime("%d %H:%M:%S")) for turn in turns] == [
        ("OPEN", False, "05 10:50:12"),
        ("SUSPENDED", False, "11 11:00:01"),
        ("OPEN", True, "11 11:00:20"),
        ("SUSPENDED", True, "11 14:46:38"),
        ("CLOSED", True, "11 14:47:27"),
    ]
    last = market[-1]
    assert [(one.name, one.status.value) for one in last.selections] == [
        ("Netherlands", "WINNER"),
        ("Papua New Guinea", "LOSER"),
    ]
    assert str(last.settled_at) == "2022-07-11 14:47:01+00:00"
    assert last.traded_minor == 22_825_181
    event = of_event(cricket, EVENT)
    assert event[-1].name == "Netherlands v Papua New Guinea"
    assert (event[-1].status, event[-1].sport, event[-1].phase) == (
        EventStatus.FINISHED,
        "Cricket",
        "2nd innings",
    )
    assert [(score.name, score.value, score.detail) for score in event[-1].scores] == [
        ("Netherlands", "163/7", "20 overs"),
        ("Papua New Guinea", "111/10", "19.4 overs"),
    ]
    assert [state for state, _ in _runs(one.status.value for one in event)] == [
        "SCHEDULED",
        "IN_PLAY",
        "FINISHED",
    ]
    assert [phase for phase, _ in _runs(one.phase for one in event)] == ["", "1st innings", "2nd innings"]


def _runs(values: Any) -> list[tuple[Any, int]]:
    runs: list[tuple[Any, int]] = []
    for value in values:
        runs = (
            [*runs[:-1], (value, runs[-1][1] + 1)] if runs and runs[-1][0] == value else [*runs, (value, 1)]
        )
    return runs


def test_another_match_in_the_sports_data_is_told_only_where_there_is_no_market_stream(
    feeds: Path, cricket: Sequence[FeedUpdate]
) -> None:
    assert of_event(cricket, "31563715") == []
    alone = replayed_updates([feeds / CRICKET[1]])
    other = of_event(alone, "31563715")[-1]
    assert (other.name, other.phase) == ("England Women v South Africa Women", "1st innings")
    assert [(score.name, score.value) for score in other.scores] == [("South Africa Women", "47/2")]
    assert of_event(alone, EVENT)[-1].scores == of_event(cricket, EVENT)[-1].scores


def test_a_replay_with_the_sports_data_is_newer_than_one_without_and_never_the_other_way_round(
    feeds: Path, cricket: Sequence[FeedUpdate]
) -> None:
    without = of_event(replayed_updates([feeds / CRICKET[0]]), EVENT)[-1]
    complete = of_event(cricket, EVENT)[-1]
    assert complete.version > without.version
    assert without.name == "Cricket event 31573045"
    assert (without.status, complete.status) == (EventStatus.FINISHED,) * 2


@pytest.mark.long
def test_a_second_replay_tells_the_same_at_the_same_versions(
    feeds: Path, cricket: Sequence[FeedUpdate]
) -> None:
    assert replayed_updates([feeds / name for name in CRICKET]) == cricket


def test_the_race_has_its_meeting_s_name_and_its_markets_their_winners(feeds: Path) -> None:
    updates = replayed_updates([feeds / "1.197931750.bz2", feeds / "1.197931751.bz2"])
    assert is_growing(updates)
    event = of_event(updates)
    assert {one.name for one in event} == {"Sheffield 19th Apr"}
    assert (event[0].status, event[-1].status) == (EventStatus.SCHEDULED, EventStatus.FINISHED)
    assert event[-1].participants[:2] == ("Paradise Mission", "Sandwood Jet")
    for market_id, name, winners in (
        ("1.197931750", "OR 280m", ["2. Sandwood Jet"]),
        ("1.197931751", "To Be Placed", ["2. Sandwood Jet", "6. Coolavanny Galiv"]),
    ):
        market = of_market(updates, market_id)
        assert market[-1].name == name
        assert [one.name for one in market[-1].selections if one.status is SelectionStatus.WINNER] == winners
        assert [state for state, _ in _runs(one.status.value for one in market)] == [
            "OPEN",
            "SUSPENDED",
            "CLOSED",
        ]


# Small streams.


def test_a_market_says_only_what_changed_and_its_volume_now_and_then() -> None:
    lines = [line(0, marketDefinition=definition("OPEN", r7="ACTIVE"), img=True)]
    lines += [line(1000 * n, rc(7, [("2", f"{n}")])) for n in range(1, 61)]
    lines += [line(61_000, marketDefinition=definition("OPEN", r7="ACTIVE"))]
    market = of_market(told(lines))
    times = [(one.updated_at.timestamp() * 1000 - START_MS) for one in market]
    assert times == [0, *range(TRADED_EVERY_MS, 60_001, TRADED_EVERY_MS)]
    assert [one.traded_minor for one in market] == [0, 750, 1500, 2250, 3000]


def test_the_volume_that_betfair_clears_before_it_closes_a_market_stays_told() -> None:
    updates = told(
        [
            line(
                0,
                rc(7, [("2", "10"), ("3", "4")]),
                marketDefinition=definition("OPEN", r7="ACTIVE"),
                img=True,
            ),
            line(1, marketDefinition=definition("SUSPENDED", r7="ACTIVE")),
            line(2, rc(7, [("2", "0"), ("3", "0")])),
            line(3, marketDefinition=definition("CLOSED", r7="WINNER")),
        ]
    )
    assert [one.traded_minor for one in of_market(updates)] == [700, 700, 700]


@pytest.mark.parametrize(
    ("market_statuses", "fixture", "expected"),
    [
        (["OPEN"], None, "SCHEDULED"),
        (["OPEN"], "PRE_MATCH", "SCHEDULED"),
        (["OPEN"], "IN_RUNNING", "IN_PLAY"),
        (["OPEN"], "FINISHED", "IN_PLAY"),  # bets are still taken
        (["SUSPENDED"], "FINISHED", "FINISHED"),
        (["CLOSED"], "IN_RUNNING", "FINISHED"),
        (["CLOSED", "OPEN"], None, "SCHEDULED"),
        (["CLOSED", "SUSPENDED"], "FINISHED", "FINISHED"),
        (["CLOSED", "CLOSED"], None, "FINISHED"),
        (["SUSPENDED"], "ABANDONED", "ABANDONED"),
    ],
)
def test_an_event_is_where_its_markets_and_its_fixture_say(
    market_statuses: list[str], fixture: str | None, expected: str
) -> None:
    lines = [
        line(n, marketDefinition=definition(status, r7="ACTIVE"), market=f"1.{n}")
        for n, status in enumerate(market_statuses)
    ]
    if fixture is not None:
        lines.append(sports(10, fixtureInfo={"fixtureStatus": fixture}))
    assert of_event(told(lines))[-1].status.value == expected


def test_an_event_all_of_whose_selections_are_removed_is_abandoned() -> None:
    updates = told([line(0, marketDefinition=definition("CLOSED", r7="REMOVED", r8="REMOVED"))])
    assert of_event(updates)[-1].status is EventStatus.ABANDONED
    assert {one.status for one in of_market(updates)[-1].selections} == {SelectionStatus.REMOVED}


def test_a_market_closes_before_its_event_is_over() -> None:
    updates = told(
        [
            line(0, marketDefinition=definition("OPEN", r7="ACTIVE")),
            line(1, marketDefinition=definition("CLOSED", r7="WINNER")),
        ]
    )
    assert [type(one).__name__ for one in updates] == [
        "EventUpdate",
        "MarketUpdate",
        "MarketUpdate",
        "EventUpdate",
    ]


def test_names_are_those_of_the_stream_or_of_the_sports_data_or_made_of_the_ids() -> None:
    unnamed = definition("OPEN", r7="ACTIVE", r58805="ACTIVE") | {
        "eventTypeId": "1",
        "marketType": "MATCH_ODDS",
    }
    named = unnamed | {
        "eventName": "Ajax v PSV",
        "name": "Match Odds 2",
        "runners": [
            {"id": 7, "status": "ACTIVE", "name": "Ajax", "sortPriority": 2},
            {"id": 8, "status": "ACTIVE", "name": "PSV", "sortPriority": 1},
        ],
    }
    lines = [
        line(0, marketDefinition=unnamed),
        sports(
            1, homeTeam={"name": "Feyenoord", "selectionId": 7}, awayTeam={"name": "Twente", "selectionId": 9}
        ),
        line(2, marketDefinition=named),
    ]
    updates = told(lines)
    assert [one.name for one in of_event(updates)] == [
        "Soccer event 31389771",
        "Feyenoord v Twente",
        "Ajax v PSV",
    ]
    assert [[one.name for one in market.selections] for market in of_market(updates)] == [
        ["Selection 7", "The Draw"],
        ["Feyenoord", "The Draw"],
        ["PSV", "Ajax"],
    ]
    assert [market.name for market in of_market(updates)] == ["Match Odds", "Match Odds", "Match Odds 2"]


def test_a_status_that_is_not_known_takes_no_bets() -> None:
    updates = told([line(0, marketDefinition=definition("HALF_OPEN", r7="ACTIVE"))])
    assert of_market(updates)[-1].status is MarketStatus.SUSPENDED


def test_a_side_that_is_not_known_yet_has_no_score() -> None:
    innings = [
        {
            "inningsNum": 1,
            "battingTeam": "Kenya",
            "inningsRuns": 5,
            "inningsOvers": "1.0",
            "inningsWickets": 0,
        },
        {"inningsNum": 2, "battingTeam": "0", "inningsRuns": 0, "inningsOvers": "0.0", "inningsWickets": 0},
        {"inningsNum": 3, "inningsRuns": 0, "inningsOvers": "0.0", "inningsWickets": 0},
    ]
    updates = told(
        [
            line(0, marketDefinition=definition("OPEN", r7="ACTIVE")),
            sports(1, matchStats={"currentInnings": 1, "inningsStats": innings}),
        ]
    )
    (score,) = of_event(updates)[-1].scores
    assert (score.name, score.value, score.detail) == ("Kenya", "5/0", "1 overs")


def test_four_innings_say_which_they_are() -> None:
    innings = [
        {
            "inningsNum": n,
            "battingTeam": "Kenya" if n % 2 else "Nepal",
            "inningsRuns": n,
            "inningsOvers": "9.3",
        }
        for n in (2, 1, 3)
    ]
    updates = told(
        [
            line(0, marketDefinition=definition("OPEN", r7="ACTIVE")),
            sports(1, matchStats={"currentInnings": 3, "inningsStats": innings}),
        ]
    )
    assert [score.detail for score in of_event(updates)[-1].scores] == [
        "1st innings, 9.3 overs",
        "2nd innings, 9.3 overs",
        "3rd innings, 9.3 overs",
    ]


def test_a_market_of_which_nothing_is_known_tells_nothing_yet() -> None:
    assert told([line(0, rc(7, [("2", "4")])), sports(1, fixtureInfo={"fixtureStatus": "PRE_MATCH"})]) == []


def test_closed_markets_are_forgotten_after_a_while_and_their_events_with_them() -> None:
    states = FeedStates()
    told(
        [
            line(0, marketDefinition=definition("CLOSED", r7="WINNER"), market="1.1"),
            line(0, marketDefinition=definition("OPEN", r7="ACTIVE"), market="1.2"),
            line(0, marketDefinition=definition("CLOSED", "5", r7="WINNER"), market="1.3"),
        ],
        states,
    )
    assert states.forget_closed(START_MS) == []
    assert states.forget_closed(START_MS + 1) == ["1.1", "1.3"]
    again = told([line(9, marketDefinition=definition("CLOSED", r7="WINNER"), market="1.2")], states)
    assert of_event(again)[-1].status is EventStatus.FINISHED


def test_ordinals() -> None:
    said = [ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 22, 101, 111)]
    assert said == ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "101st", "111th"]


# Without the mark by which `line` writes numbers as they are.
_texts = (
    st.none()
    | st.text(max_size=300).filter(lambda text: RAW not in text)
    | st.sampled_from(["2022-07-11T11:00:00.000Z", "1999-01-01T00:00:00Z"])
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "eventTypeId": _texts,
            "eventName": _texts,
            "name": _texts,
            "marketType": _texts,
            "marketTime": _texts,
            "settledTime": _texts,
            "openDate": _texts,
            "timezone": _texts,
            "venue": _texts,
            "countryCode": _texts,
            "inPlay": st.none() | st.booleans(),
            "betDelay": st.none() | st.integers(-10, 10**9),
            "numberOfWinners": st.none() | st.integers(-10, 10**9),
            "marketBaseRate": st.none() | st.floats(-10, 1e9),
            "status": _texts,
            "runners": st.lists(
                st.fixed_dictionaries(
                    {"id": st.integers(0, 5)},
                    optional={
                        "name": _texts,
                        "status": _texts,
                        "sortPriority": st.none() | st.integers(),
                        "hc": st.none() | st.floats(-2000, 2000),
                    },
                ),
                max_size=5,
            ),
        },
    )
)
def test_whatever_a_definition_says_its_updates_survive_the_wire(of_market: dict[str, Any]) -> None:
    told([line(0, marketDefinition={"eventId": "1", **of_market})])


def test_the_traded_volume_is_half_of_what_both_sides_count() -> None:
    draw = random.Random(1)
    ladders = VolumeLadders()
    sizes = {(selection, odds): draw.randrange(1000) for selection in (1, 2) for odds in (2, 3, 4)}
    lines = [line(0, *(rc(s, [(str(o), str(size))]) for (s, o), size in sizes.items()))]
    message = decode_line(lines[0])
    assert message is not None
    ladders.apply(message, 1)
    assert ladders.traded("1.2") == Decimal(sum(sizes.values())) / 2
    assert ladders.traded("nobody's") == 0
