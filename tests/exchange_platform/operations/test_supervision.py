"""When a consumer run is requested, and when not."""

from __future__ import annotations

from typing import Any

import pytest

from exchange_platform.operations.supervision import AllRequests, Decision, Requests, abandoned, decide
from exchange_platform.process.process_life import Life
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.consumers.consumers import ConsumerRow
from exchange_platform.stores.operational.consumers.signs import Statistics

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
        "statistics": Statistics(),
    }
    return ConsumerRow(**(values | changes))


def look(
    *recent: ConsumerRow,
    requests: Requests | None = None,
    now_us: int = NOW,
    life: Life | None = None,
    pending: int = 0,
) -> Decision:
    """One look; `life` is what is known of the newest consumer's process."""
    lives = {recent[0].run_id: life} if life is not None else {}
    return decide(
        "s",
        recent,
        requests or Requests(),
        now_us=now_us,
        settings=Settings(),
        lives=lives,
        pending=pending,
    )


def test_the_first_run_is_requested() -> None:
    assert look().run_key is not None


def test_a_live_consumer_is_left_alone_and_described_in_numbers() -> None:
    decision = look(consumer())
    assert decision.run_key is None
    assert decision.reason == "run 1f3c0000 alive, heartbeat 0.4 s ago, lag 120 ms, 950 records/s"


def test_trouble_is_part_of_the_reason() -> None:
    assert "TROUBLE: lake: locked" in look(consumer(statistics=Statistics(trouble=["lake: locked"]))).reason


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


def test_a_run_that_failed_after_it_had_worked_is_no_reason_to_wait_longer_and_its_error_is_named() -> None:
    """One of its sinks was degraded for too long: the other sinks wait for the successor."""
    failed = [
        consumer(
            epoch=epoch,
            state="failed",
            started_at_us=NOW - 400 * S,
            heartbeat_at_us=NOW - 4 * S,
            statistics=Statistics(trouble=["lake degraded since noon"]),
        )
        for epoch in (9, 8, 7, 6)
    ]
    assert "1 failures in a row, next try in 1 s" in look(*failed).reason
    assert "its last error: lake degraded since noon" in look(*failed).reason
    assert look(*failed, now_us=NOW + 2 * S).run_key is not None


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


def test_a_run_whose_process_lives_is_not_superseded_because_the_machine_is_slow() -> None:
    slow = consumer(heartbeat_at_us=NOW - 20 * S)
    decision = look(slow, life=Life.LIVES)
    assert decision.run_key is None
    assert "no heartbeat for 20.0 s, but its process runs" in decision.reason
    assert (
        abandoned([slow], decision.requests, now_us=NOW, settings=Settings(), lives={slow.run_id: Life.LIVES})
        == []
    )


def test_a_run_whose_process_is_gone_is_replaced_at_the_next_look_however_young_its_heartbeat() -> None:
    killed = consumer(heartbeat_at_us=NOW - 200_000)
    decision = look(killed, life=Life.GONE)
    assert decision.run_key is not None
    assert "its process is gone" in decision.reason
    assert abandoned(
        [killed], decision.requests, now_us=NOW, settings=Settings(), lives={killed.run_id: Life.GONE}
    ) == [killed.run_id]


def test_a_hung_run_is_replaced_and_ended_within_a_minute_and_a_look() -> None:
    beat_us, requests = NOW - 4 * S, Requests()
    for after_s in range(0, 56, 5):
        decision = look(
            consumer(heartbeat_at_us=beat_us), requests=requests, now_us=NOW + after_s * S, life=Life.LIVES
        )
        assert decision.run_key is None
        requests = decision.requests
    hung = consumer(heartbeat_at_us=beat_us)
    decision = look(hung, requests=requests, now_us=NOW + 60 * S, life=Life.LIVES)
    assert decision.run_key is not None
    assert "hangs: its process runs, no heartbeat for 64.0 s" in decision.reason
    assert abandoned(
        [hung], decision.requests, now_us=NOW + 60 * S, settings=Settings(), lives={hung.run_id: Life.LIVES}
    ) == [hung.run_id]


def test_a_clock_that_jumps_forward_ends_no_process_that_runs() -> None:
    """Or the machine slept: every heartbeat is hours old at the first look, and new ones come before the
    third.
    """
    hour = 3_600 * S
    requests, now_us = Requests(), NOW + hour
    for _ in range(20):
        for heartbeat_at_us in (now_us - hour, now_us - hour):
            row = consumer(heartbeat_at_us=heartbeat_at_us, ends_at_us=now_us + 600 * S)
            decision = look(row, requests=requests, now_us=now_us, life=Life.LIVES)
            assert decision.run_key is None
            assert not abandoned(
                [row], decision.requests, now_us=now_us, settings=Settings(), lives={row.run_id: Life.LIVES}
            )
            requests = decision.requests
        now_us += 5 * S
        decision = look(
            consumer(heartbeat_at_us=now_us, ends_at_us=now_us + 600 * S),
            requests=requests,
            now_us=now_us,
            life=Life.LIVES,
        )
        requests = decision.requests
        assert requests.looks == 0


def test_a_quiet_run_that_nears_its_end_gets_its_successor() -> None:
    quiet = consumer(heartbeat_at_us=NOW - 10 * S, ends_at_us=NOW + 20 * S)
    assert look(quiet, life=Life.LIVES).run_key is not None


def test_where_starts_take_long_successors_are_requested_earlier_and_requests_repeated_later() -> None:
    """A start took 25 s: twice that is left for the successor, and before another is requested."""
    began = {"started_at_us": NOW - 400 * S, "requested_at_us": NOW - 425 * S}
    assert look(consumer(**began, ends_at_us=NOW + 45 * S)).run_key is not None
    assert look(consumer(**began, ends_at_us=NOW + 55 * S)).run_key is None
    dead = consumer(**began, heartbeat_at_us=NOW - 30 * S)
    first = look(dead)
    assert first.run_key is not None
    assert look(dead, requests=first.requests, now_us=NOW + 45 * S).run_key is None
    assert look(dead, requests=first.requests, now_us=NOW + 51 * S).run_key is not None


def test_a_run_that_waits_for_a_slot_or_is_starting_is_not_requested_again() -> None:
    dead = consumer(heartbeat_at_us=NOW - 6 * S)
    first = look(dead)
    waiting = look(dead, requests=first.requests, now_us=NOW + 13 * S, pending=1)
    assert waiting.run_key is None
    assert "1 queued or starting" in waiting.reason
    assert look(dead, requests=waiting.requests, now_us=NOW + 13 * S).run_key is not None


HOUR = 3_600 * S


def test_a_dead_run_whose_heartbeat_lies_ahead_is_replaced_at_once() -> None:
    """It counted as alive for as long as the clock had been set back."""
    dead = consumer(heartbeat_at_us=NOW + HOUR, ends_at_us=NOW + 2 * HOUR)
    decision = look(dead)
    assert decision.run_key is not None
    assert "no heartbeat since the clock was set back" in decision.reason


def test_a_clock_that_is_set_back_ends_no_process_that_runs() -> None:
    """Its next heartbeat, half a second later, is by the new clock; until then it is looked at again."""
    row = consumer(heartbeat_at_us=NOW + HOUR, ends_at_us=NOW + 2 * HOUR)
    decision = look(row, life=Life.LIVES)
    assert decision.run_key is None
    beaten = consumer(heartbeat_at_us=NOW + S, ends_at_us=NOW + 600 * S)
    decision = look(beaten, requests=decision.requests, now_us=NOW + S, life=Life.LIVES)
    assert (decision.run_key, decision.requests.looks) == (None, 0)


def test_after_the_clock_was_set_back_nobody_waits_an_hour_for_the_next_try() -> None:
    failed = [consumer(epoch=epoch, state="failed", heartbeat_at_us=NOW + HOUR) for epoch in (9, 8, 7)]
    assert look(*failed).run_key is not None
    requested = Requests(after_epoch=7, attempts=1, requested_at_us=NOW + HOUR)
    assert look(consumer(state="ended"), requests=requested).run_key is not None


def test_a_dead_run_whose_heartbeat_lies_ahead_gives_its_slot_back() -> None:
    dead = consumer(run_id="dead", heartbeat_at_us=NOW + HOUR)
    assert abandoned([consumer(), dead], Requests(), now_us=NOW, settings=Settings()) == ["dead"]
