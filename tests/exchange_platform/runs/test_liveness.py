"""The one rule by which a consumer counts as alive, quiet, hung, silent or gone."""

from __future__ import annotations

import pytest

from exchange_platform.process.process_life import Life
from exchange_platform.runs.liveness import Patience, RunCondition, condition_of, life_by, longest_start_s
from exchange_platform.stores.operational.consumers.consumers import ConsumerRow
from tests.exchange_platform.operations.test_supervision import NOW, S, consumer

PATIENCE = Patience(silent_s=4.0, hung_s=60.0)


def started_in(seconds: float, **changes: int) -> ConsumerRow:
    return consumer(started_at_us=NOW - 60 * S, requested_at_us=int(NOW - (60 + seconds) * S), **changes)


@pytest.mark.parametrize(
    ("life", "silent_s", "expected"),
    [
        (Life.LIVES, 0.4, RunCondition.ALIVE),
        (Life.LIVES, 20.0, RunCondition.QUIET),
        (Life.LIVES, 59.0, RunCondition.QUIET),
        (Life.LIVES, 60.0, RunCondition.HUNG),
        (Life.GONE, 0.0, RunCondition.GONE),
        (Life.GONE, 20.0, RunCondition.GONE),
        (Life.UNKNOWN, 0.4, RunCondition.ALIVE),
        (Life.UNKNOWN, 4.0, RunCondition.SILENT),
        (Life.UNKNOWN, -30.0, RunCondition.ALIVE),
        (Life.UNKNOWN, -3600.0, RunCondition.SILENT),
        (Life.LIVES, -3600.0, RunCondition.HUNG),
    ],
)
def test_what_is_known_of_the_process_comes_before_the_age_of_its_heartbeat(
    life: Life, silent_s: float, expected: RunCondition
) -> None:
    row = consumer(heartbeat_at_us=int(NOW - silent_s * S))
    assert condition_of(row, life, now_us=NOW, patience=PATIENCE) is expected


@pytest.mark.parametrize("life", Life)
def test_who_said_that_it_ended_has_ended(life: Life) -> None:
    row = consumer(state="superseded", heartbeat_at_us=NOW - 100 * S)
    assert condition_of(row, life, now_us=NOW, patience=PATIENCE) is RunCondition.ENDED


@pytest.mark.parametrize(
    ("start_s", "silent_s", "expected"),
    [
        (3.0, 5.0, RunCondition.SILENT),
        (12.0, 5.0, RunCondition.QUIET),
        (12.0, 12.0, RunCondition.SILENT),
        (90.0, 29.0, RunCondition.QUIET),
        (90.0, 30.0, RunCondition.SILENT),
        (500.0, 5.0, RunCondition.SILENT),
    ],
    ids=["cheap", "dear", "dear and over", "bounded", "bounded and over", "it waited in a queue"],
)
def test_where_nobody_knows_a_consumer_is_given_up_the_later_the_more_a_start_costs(
    start_s: float, silent_s: float, expected: RunCondition
) -> None:
    row = started_in(start_s, heartbeat_at_us=int(NOW - silent_s * S))
    assert condition_of(row, Life.UNKNOWN, now_us=NOW, patience=PATIENCE) is expected


def test_the_first_probe_that_knows_is_believed_and_no_other_is_asked() -> None:
    asked: list[Life] = []

    def probe(life: Life) -> Life:
        asked.append(life)
        return life

    probes = [lambda _row, life=life: probe(life) for life in (Life.UNKNOWN, Life.GONE, Life.LIVES)]
    assert life_by(probes, consumer()) is Life.GONE
    assert asked == [Life.UNKNOWN, Life.GONE]
    assert life_by([], consumer()) is Life.UNKNOWN


def test_the_longest_start_leaves_out_who_did_not_say_when_it_was_requested() -> None:
    assert longest_start_s([started_in(3.0), started_in(7.5), consumer(), started_in(900.0)]) == 7.5
    assert longest_start_s([consumer()]) == 0.0
