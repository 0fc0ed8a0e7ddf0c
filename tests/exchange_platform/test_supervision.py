"""When a consumer run is requested, and when not."""

from __future__ import annotations

from typing import Any

import pytest

from exchange_platform.settings import Settings
from exchange_platform.stores.consumers import ConsumerRow
from exchange_platform.supervision import AllRequests, Decision, Requests, abandoned, decide

NOW = 1_800_000_000_000_000
S = 1_000_000


def consumer(**changes: Any) -> ConsumerRow:
    values: dict[str, Any] = {
        "source": "s",
        "epoch": 7,
        "run_id": "1f3c0000-run",
        "state": "running",
        "started_at_us": NOW - 60 * S,
        "ends_at_us": NOW + 600 * S,
        "heartbeat_at_us": NOW - 400_000,
        "at_tip": True,
        "caught_up_at_us": NOW,
        "records": 10,
        "rate": 950.0,
        "lag_ms": 120.0,
        "statistics": {},
    }
    return ConsumerRow(**(values | changes))


def look(*recent: ConsumerRow, requests: Requests | None = None, now_us: int = NOW) -> Decision:
    return decide("s", recent, requests or Requests(), now_us=now_us, settings=Settings())


def test_the_first_run_is_requested() -> None:
    assert look().run_key is not None


def test_a_live_consumer_is_left_alone_and_described_in_numbers() -> None:
    decision = look(consumer())
    assert decision.run_key is None
    assert decision.reason == "run 1f3c0000 alive, heartbeat 0.4 s ago, lag 120 ms, 950 records/s"


def test_trouble_is_part_of_the_reason() -> None:
    assert "TROUBLE: lake: locked" in look(consumer(statistics={"trouble": ["lake: locked"]})).reason


@pytest.mark.parametrize(
    "changes",
    [
        {"ends_at_us": NOW + 20 * S},
        {"heartbeat_at_us": NOW - 6 * S},
        {"state": "ended"},
        {"state": "superseded"},
    ],
    ids=["nears its end", "died", "ended", "superseded"],
)
def test_a_successor_is_requested_when_the_consumer(changes: dict[str, Any]) -> None:
    assert look(consumer(**changes)).run_key is not None


def test_a_request_is_not_repeated_while_its_run_may_still_be_starting() -> None:
    dead = consumer(heartbeat_at_us=NOW - 6 * S)
    first = look(dead)
    again = look(dead, requests=first.requests, now_us=NOW + 5 * S)
    assert again.run_key is None
    assert "requested 5 s ago" in again.reason


def test_a_request_whose_run_never_came_is_repeated_under_another_key() -> None:
    dead = consumer(heartbeat_at_us=NOW - 6 * S)
    first = look(dead)
    second = look(dead, requests=first.requests, now_us=NOW + 13 * S)
    assert second.run_key not in (None, first.run_key)
    third = look(dead, requests=second.requests, now_us=NOW + 26 * S)
    assert third.run_key is None


def test_a_new_epoch_begins_a_new_count_of_attempts() -> None:
    old = Requests(after_epoch=6, attempts=5, requested_at_us=NOW - S)
    assert look(consumer(state="ended"), requests=old).requests.attempts == 1


def test_failures_in_a_row_wait_exponentially_longer() -> None:
    failed = [consumer(epoch=epoch, state="failed", heartbeat_at_us=NOW - 15 * S) for epoch in (9, 8, 7)]
    assert look(*failed).run_key is None
    assert "3 failures in a row" in look(*failed).reason
    assert look(*failed, now_us=NOW + 10 * S).run_key is not None


@pytest.mark.parametrize("attempts", [1_024, 1_025, 1_100, 100_000])
def test_a_request_is_repeated_after_more_attempts_than_a_float_has_doublings(attempts: int) -> None:
    dead = consumer(heartbeat_at_us=NOW - 6 * S)
    waiting = Requests(after_epoch=7, attempts=attempts, requested_at_us=NOW - 119 * S)
    assert look(dead, requests=waiting).run_key is None
    due = look(dead, requests=waiting, now_us=NOW + S)
    assert (due.run_key is not None, due.requests.attempts) == (True, attempts + 1)


@pytest.mark.parametrize("failures", [1_024, 1_025, 1_100])
def test_more_failures_in_a_row_than_a_float_has_doublings_wait_five_minutes(failures: int) -> None:
    failed = [
        consumer(epoch=2_000 - number, state="failed", heartbeat_at_us=NOW - 15 * S)
        for number in range(failures)
    ]
    assert f"{failures} failures in a row, next try in 285 s" in look(*failed).reason
    assert look(*failed, now_us=NOW + 286 * S).run_key is not None


@pytest.mark.parametrize(
    ("requests", "recent", "expected"),
    [
        (Requests(), [consumer()], []),
        (Requests(7, 1, NOW), [consumer(heartbeat_at_us=NOW - 20 * S)], []),
        (Requests(7, 2, NOW), [consumer(heartbeat_at_us=NOW - 20 * S)], ["1f3c0000-run"]),
        (Requests(7, 2, NOW), [consumer(heartbeat_at_us=NOW - 20 * S, state="ended")], []),
        (
            Requests(),
            [consumer(), consumer(epoch=6, run_id="older", heartbeat_at_us=NOW - 20 * S)],
            ["older"],
        ),
        (Requests(), [consumer(), consumer(epoch=6, heartbeat_at_us=NOW - 5 * S)], []),
        (Requests(), [consumer(), consumer(epoch=6, heartbeat_at_us=NOW - 20 * S, state="superseded")], []),
    ],
)
def test_a_run_that_is_silent_is_given_up_once_it_has_a_successor_or_none_can_come(
    requests: Requests, recent: list[ConsumerRow], expected: list[str]
) -> None:
    assert abandoned(recent, requests, now_us=NOW, settings=Settings()) == expected


def test_requests_survive_as_text_and_nonsense_is_forgotten() -> None:
    requests = AllRequests().replaced("a", Requests(3, 2, NOW)).replaced("b", Requests(1, 1, NOW))
    kept = AllRequests.from_text(requests.to_text())
    assert (kept, kept.of("a"), kept.of("c")) == (requests, Requests(3, 2, NOW), Requests())
    assert AllRequests.from_text("nonsense") == AllRequests.from_text(None) == AllRequests()
