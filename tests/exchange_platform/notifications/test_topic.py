"""Publishing to the topic: order, what SNS refuses, what it does not answer, and the message itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.delivery.delivery import Lease
from exchange_platform.notifications.topic import (
    BATCH,
    Topic,
    TopicChannel,
    attributes_of,
    batches,
    message_of,
)
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.bets.outbox import ChangeRow, Outbox
from exchange_platform.stores.operational.consumers.dead_letters import DeadLetters
from exchange_platform.stores.operational.database import Database
from tests.exchange_platform.stores.bet_lives import lost, matched, opened
from tests.exchange_platform.stores.bet_tables import new_database
from tests.support.notification_parts import Subscriber, change, ready, running_notifier
from tests.support.platform_parts import wait_for


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Database]:
    """A database whose outbox holds three changes of each of twenty bets."""
    with new_database(tmp_path) as database:
        bets = [opened(bet_id=f"b{number}", user_id=f"u{number}") for number in range(20)]
        for step in (lambda bet: bet, matched, lambda bet: lost(matched(bet))):
            change(database, *(step(bet) for bet in bets))
        yield database


class FaultySns:
    """Takes what it is told to take."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.calls = 0
        self.fail_call: dict[int, Exception] = {}
        self.fail_entry: dict[str, dict[str, Any]] = {}
        self.silent_about: set[str] = set()

    def publish_batch(self, *, TopicArn: str, PublishBatchRequestEntries: list[Any]) -> dict[str, Any]:  # noqa: N803
        self.calls += 1
        if error := self.fail_call.pop(self.calls, None):
            raise error
        answer: dict[str, Any] = {"Successful": [], "Failed": []}
        for entry in PublishBatchRequestEntries:
            message = json.loads(entry["Message"])
            name = f"{message['bet_id']}.{message['version']}"
            if name in self.fail_entry:
                failed = self.fail_entry[name]
                if not failed["SenderFault"]:
                    del self.fail_entry[name]
                answer["Failed"].append({"Id": entry["Id"], **failed})
                continue
            if name in self.silent_about:
                self.silent_about.discard(name)
                continue
            self.taken.append(name)
            answer["Successful"].append({"Id": entry["Id"]})
        return answer

    def close(self) -> None:
        pass


class AlwaysHolds:
    """A lease that never ends."""

    def __init__(self) -> None:
        import threading

        self.ending = threading.Event()

    def holds(self) -> bool:
        return True


def delivered(database: Database, sns: FaultySns, rounds: int = 30) -> TopicChannel:
    """Work the channel until nothing is left."""
    channel = TopicChannel(database, Topic(sns, lambda: "arn:aws:sns:eu-west-1:1:bet-status"), SYSTEM_CLOCK)
    channel.claim(1)
    lease: Lease = AlwaysHolds()
    for _ in range(rounds):
        channel.work(lease)
    channel.close()
    return channel


def test_a_topic_that_refuses_every_message_for_one_reason_makes_no_dead_letter(outbox: Database) -> None:
    """As a topic without the attribute that a filter asks for, or a parameter of ours that SNS does
    not know.
    """
    sns = FaultySns()
    for number in range(20):
        for version in (1, 2, 3):
            sns.fail_entry[f"b{number}.{version}"] = {
                "SenderFault": True,
                "Code": "InvalidParameter",
                "Message": f"Invalid parameter: b{number}",
            }
    channel = delivered(outbox, sns)
    assert "messages in a row were refused for one reason" in (channel.last_error() or "")
    assert DeadLetters(outbox).count().waiting == 0
    sns.fail_entry.clear()
    delivered(outbox, sns)
    assert len(sns.taken) == 60
    assert DeadLetters(outbox).count().waiting == 0


def in_order(taken: list[str]) -> bool:
    versions: dict[str, list[int]] = {}
    for name in taken:
        bet, _, version = name.rpartition(".")
        versions.setdefault(bet, []).append(int(version))
    return all(numbers == sorted(numbers) for numbers in versions.values())


def throttled() -> ClientError:
    return ClientError(
        {"Error": {"Code": "Throttled", "Message": "slow down"}, "ResponseMetadata": {"HTTPStatusCode": 429}},  # type: ignore[typeddict-item]
        "PublishBatch",
    )


def test_every_change_is_published_once_in_its_bet_s_order(outbox: Database) -> None:
    sns = FaultySns()
    channel = delivered(outbox, sns)
    assert Counter(sns.taken) == Counter(f"b{n}.{v}" for n in range(20) for v in (1, 2, 3))
    assert in_order(sns.taken)
    assert channel.figures()["published"] == 60
    assert channel.figures()["waiting"] == 0


@pytest.mark.parametrize(
    "fault",
    [
        {"fail_call": {1: throttled(), 3: throttled()}},
        {"fail_entry": {"b3.1": {"Code": "InternalError", "SenderFault": False}}},
        {"silent_about": {"b3.1", "b4.2"}},
    ],
)
def test_what_sns_does_not_take_is_published_later_and_the_rest_not_again(
    outbox: Database, fault: dict[str, Any]
) -> None:
    sns = FaultySns()
    for name, value in fault.items():
        setattr(sns, name, value)
    channel = delivered(outbox, sns)
    assert Counter(sns.taken) == Counter(f"b{n}.{v}" for n in range(20) for v in (1, 2, 3))
    assert in_order(sns.taken)
    assert channel.last_error() is None


def test_what_sns_refuses_for_good_is_a_dead_letter_and_holds_nothing_up(outbox: Database) -> None:
    sns = FaultySns()
    sns.fail_entry = {"b3.1": {"Code": "InvalidParameter", "Message": "odd", "SenderFault": True}}
    delivered(outbox, sns)
    assert len(sns.taken) == 59
    (letter,) = DeadLetters(outbox).list()
    assert (letter.shard, letter.partition_key, letter.reason) == ("topic", "b3", "InvalidParameter: odd")


def test_a_call_that_one_message_spoils_is_made_one_by_one(outbox: Database) -> None:
    sns = FaultySns()
    refusal = ClientError({"Error": {"Code": "InvalidParameter", "Message": "too long"}}, "PublishBatch")
    sns.fail_call = {1: refusal}
    delivered(outbox, sns)
    assert Counter(sns.taken) == Counter(f"b{n}.{v}" for n in range(20) for v in (1, 2, 3))


def test_the_message_carries_the_bet_and_what_to_filter_by(outbox: Database) -> None:
    row = Outbox(outbox).after(40, 1)[0]
    message = json.loads(message_of(row))
    assert message["kind"] == "bet_change"
    assert message["v"] == 1
    assert (message["bet_id"], message["version"], message["change"]) == ("b0", 3, "settled")
    assert (message["status_before"], message["status"]) == ("MATCHED", "SETTLED")
    assert message["bet"]["profit_minor"] == -1000
    assert message["changed_at"] == "2026-11-24T12:00:02Z"
    assert attributes_of(row) == {
        "change": "settled",
        "status": "SETTLED",
        "event_id": "e1",
        "market_id": "m1",
        "user_id": "u0",
    }


@given(bets=st.lists(st.integers(0, 12), max_size=80))
def test_calls_keep_each_bet_s_order_and_never_hold_two_changes_of_a_bet(bets: list[int]) -> None:
    changes = [
        ChangeRow(number, f"b{bet}", number + 1, "u", "accepted", None, "OPEN", "{}", 0)
        for number, bet in enumerate(bets)
    ]
    calls = batches(changes)
    told = [one for call in calls for one in call]
    assert sorted(told, key=lambda one: one.sequence) == changes
    for bet_id in {one.bet_id for one in changes}:
        mine = [one.sequence for one in told if one.bet_id == bet_id]
        assert mine == sorted(mine)
    for call in calls:
        assert 1 <= len(call) <= BATCH
        assert len({change.bet_id for change in call}) == len(call)


def test_a_fifo_topic_gets_groups_and_drops_repeats(settings: Settings) -> None:
    fifo = settings.model_copy(update={"status_topic": f"{settings.status_topic}.fifo"})
    database = ready(fifo)
    subscriber = Subscriber(fifo)
    with running_notifier(fifo):
        bet = opened()
        change(database, bet, matched(bet))
        wait_for(lambda: len(subscriber.take()) == 2, timeout_s=20)
    assert [one["version"] for one in subscriber.messages] == [1, 2]
    database.dispose()
