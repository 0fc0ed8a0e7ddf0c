"""Consumers that are killed, taken over, and flooded with damage, on real parts."""

from __future__ import annotations

import json
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from exchange_platform.domain.records import BetUpdate, decode, encode
from exchange_platform.operations import checks
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.dynamodb.profile_view import ProfileView
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.bets.profiles import Profiles
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.consumers.dead_letters import DeadLetters
from exchange_platform.stores.operational.database import Database, checkpoints, dead_letters
from exchange_platform.stores.schema import migrate
from exchange_platform.streams.exchange_bets import build_consumer
from exchange_platform.streams.replay.dead_letters import replay_dead_letters
from exchange_platform.streams.sources.kinesis import ensure_stream
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from tests.support.platform_parts import (
    consume_all,
    encoded,
    environment,
    is_caught_up,
    lake_rows,
    operational_rows,
    publish,
    start_consumer,
    wait_for,
)
from tests.support.workload import START, matched_pairs


@pytest.fixture
def ready(settings: Settings) -> Settings:
    """Settings whose stream and schemas exist."""
    migrate(settings)
    ensure_stream(aws_client(settings, "kinesis"), settings.bets_stream)
    return settings


def undisturbed(settings: Settings, directory: Path, data: list[tuple[str, bytes]]) -> Settings:
    """The same records through one consumer that nobody disturbs."""
    calm = settings.model_copy(
        update={
            "data_dir": directory,
            "bets_stream": f"{settings.bets_stream}-calm",
            "profiles_table": f"{settings.profiles_table}-calm",
        }
    )
    migrate(calm)
    ensure_stream(aws_client(calm, "kinesis"), calm.bets_stream)
    consume_all(calm, publish(calm, data))
    return calm


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_twenty_kills_leave_the_tables_of_an_undisturbed_run(ready: Settings, tmp_path: Path) -> None:
    data = encoded(matched_pairs(4000, users=200))
    rows = ConsumerRows(Database(ready.operational_database_url))
    chance = random.Random(20)
    published = threading.Event()

    def produce() -> None:
        for start in range(0, len(data), 250):
            publish(ready, data[start : start + 250])
            published.wait(0.25)
        published.set()

    producer = threading.Thread(target=produce)
    producer.start()
    for _ in range(20):
        epoch = newest.epoch if (newest := rows.newest(EXCHANGE_BETS)) else 0
        process = start_consumer(ready)
        wait_for(
            lambda epoch=epoch: (n := rows.newest(EXCHANGE_BETS)) is not None and n.epoch > epoch,  # type: ignore[misc]
            what="a consumer's epoch",
        )
        published.wait(chance.random() * 1.2) if not published.is_set() else None
        process.send_signal(signal.SIGKILL)
        process.wait()
    producer.join()
    consume_all(ready, SYSTEM_CLOCK.now_us())

    calm = undisturbed(ready, tmp_path / "calm", data)
    assert operational_rows(ready) == operational_rows(calm)
    assert lake_rows(ready) == lake_rows(calm)
    database = Database(ready.operational_database_url)
    view = ProfileView(aws_client(ready, "dynamodb"), ready.profiles_table)
    for page in Profiles(database).pages():
        for profile in page:
            assert view.get(profile.user_id) == profile


@pytest.mark.faults
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_successors_take_over_within_a_second_and_apply_nothing_twice(ready: Settings) -> None:
    database = Database(ready.operational_database_url)
    rows = ConsumerRows(database)
    data = encoded(matched_pairs(4500, users=100))
    consumers = [start_consumer(ready)]
    wait_for(lambda: is_caught_up(rows, 0), what="the first consumer")
    commits: list[tuple[float, int]] = []
    watching = threading.Event()

    def watch() -> None:
        known = None
        while not watching.wait(0.005):
            with database.read() as connection:
                row = connection.execute(
                    sa.select(checkpoints.c.position, checkpoints.c.epoch).where(
                        checkpoints.c.sink == "operational_database"
                    )
                ).first()
            if row is not None and row.position != known:
                known = row.position
                commits.append((time.monotonic(), row.epoch))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for start in range(0, len(data), 100):
        publish(ready, data[start : start + 100])
        if start in (2000, 6000, 10_000):
            consumers.append(start_consumer(ready))
        watching.wait(0.05)
    wait_for(lambda: len({epoch for _, epoch in commits}) == 4, what="the last successor's commits")
    *superseded, last = consumers
    for process in superseded:
        wait_for(lambda process=process: process.poll() is not None, what="the end of a superseded consumer")  # type: ignore[misc]
    since_us = SYSTEM_CLOCK.now_us()
    wait_for(lambda: is_caught_up(rows, since_us))
    watching.set()
    watcher.join()
    last.terminate()
    assert last.wait(30) == 0
    assert [process.returncode for process in superseded] == [3, 3, 3]
    epochs = [epoch for _, epoch in commits]
    assert epochs == sorted(epochs), "a superseded consumer committed after its successor"
    pauses = [
        min(at for at, epoch in commits if epoch == older + 1)
        - max(at for at, epoch in commits if epoch == older)
        for older in (1, 2, 3)
    ]
    print(f"pauses between the commits: {', '.join(f'{pause:.3f}' for pause in pauses)} s")
    assert statistics.median(pauses) < 1.0
    assert checks.money_conserved(database).passed
    lake = Lake.from_settings(ready)
    assert lake.counts().executions == 4500
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(dead_letters)).scalar_one() == 0
    lake.close()


def _damaged(chance: random.Random, good: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    key, data = chance.choice(good)
    values: dict[str, Any] = json.loads(data)
    kind = chance.randrange(10)
    if kind == 0:
        return key, data[: chance.randrange(len(data))]
    if kind == 1:
        return key, b"\xff" + data[1:]
    if kind == 2:
        return key, bytes(chance.randrange(256) for _ in range(chance.randrange(1, 400)))
    name = chance.choice(["market_id", "selection_id", "odds", "event_id"])
    changes: dict[int, dict[str, Any]] = {
        3: {"kind": chance.choice(["wager", "", None, 7, "EXECUTION"])},
        4: {"v": chance.choice([0, 2, 99, "1", None])},
        5: {name: chance.choice([None, [], {}, -1, "", "\x00"])},
        6: {"odds": chance.choice(["0", "1", "-2", "1e9", "NaN", "Infinity", "2.00000001", "two"])},
        7: {"surprise": chance.random()},
        8: {"event_id": "x" * (1_000_000 if chance.random() < 0.01 else 65)},
        9: {"executed_at": "yesterday", "updated_at": "yesterday"}
        if "executed_at" in values
        else {"remaining_minor": values["remaining_minor"] + 1},
    }
    return key, json.dumps(values | changes[kind]).encode()


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_ten_thousand_damaged_records_are_dead_letters_and_every_good_one_is_applied(
    ready: Settings, tmp_path: Path
) -> None:
    chance = random.Random(10_000)
    records = list(matched_pairs(1500, users=100))
    good = encoded(records)
    damaged = [_damaged(chance, good) for _ in range(9_900)]
    settled = [record for record in records if isinstance(record, BetUpdate) and record.version == 3]
    illegal = [
        encode(msgspec.structs.replace(record, version=9, user_id="somebody-else"))
        for record in settled[:100]
    ]
    mixed = list(good)
    for letter in damaged:
        mixed.insert(chance.randrange(len(mixed)), letter)
    # Good records keep their own order: that of the workload.
    order = iter(good)
    known = set(good)
    mixed = [next(order) if entry in known else entry for entry in mixed]
    since_us = publish(ready, [*mixed, *[("1.0000", letter) for letter in illegal]])
    consume_all(ready, since_us)

    database = Database(ready.operational_database_url)
    letters = DeadLetters(database)
    assert letters.count().waiting == 10_000
    with database.read() as connection:
        reasons = connection.execute(sa.select(dead_letters.c.stage, dead_letters.c.reason)).all()
    assert all(len(reason) > 3 for _, reason in reasons)
    assert (
        sum(stage == "operational_database" and "user_id changed" in reason for stage, reason in reasons)
        == 100
    )
    calm = undisturbed(ready, tmp_path / "calm", good)
    assert operational_rows(ready) == operational_rows(calm)
    assert lake_rows(ready) == lake_rows(calm)


@pytest.mark.faults
def test_replaying_dead_letters_applies_what_a_mended_decoder_accepts(
    ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = list(matched_pairs(200, users=20))
    tagged = [(key, data.replace(b'"v":1', b'"v":2')) for key, data in encoded(records)]
    consume_all(ready, publish(ready, [*tagged, ("x", b"nonsense")]))
    letters = DeadLetters(Database(ready.operational_database_url))
    assert letters.count().waiting == len(records) + 1
    assert replay_dead_letters(ready).still_dead == len(records) + 1

    monkeypatch.setattr(
        "exchange_platform.domain.records.decode", lambda data: decode(data.replace(b'"v":2', b'"v":1'))
    )
    replayed = replay_dead_letters(ready)
    assert (replayed.applied, replayed.still_dead) == (len(records), 1)
    assert letters.count().waiting == 1
    assert checks.money_conserved(Database(ready.operational_database_url)).passed
    lake = Lake.from_settings(ready)
    assert lake.counts().executions == 200
    lake.close()


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_shuffled_and_doubled_executions_give_the_identical_windows(ready: Settings, tmp_path: Path) -> None:
    executions = [record for record in matched_pairs(5000) if not isinstance(record, BetUpdate)]
    calm = undisturbed(ready, tmp_path / "calm", encoded(executions))
    doubled = [*executions, *executions]
    random.Random(5).shuffle(doubled)
    consume_all(ready, publish(ready, encoded(doubled)))
    assert lake_rows(ready) == lake_rows(calm)


@pytest.mark.faults
def test_a_thousand_queries_of_another_process_meet_no_error_while_the_consumer_writes(
    ready: Settings,
) -> None:
    consumer = build_consumer(ready, run_id="writer", duration_s=300)
    running = threading.Thread(target=lambda: list(consumer.run()))
    running.start()
    stop = threading.Event()

    def produce() -> None:
        for number, start in enumerate(range(0, 10**9, 100)):
            publish(ready, encoded(matched_pairs(15, prefix=f"{number}-", start=START)))
            if stop.wait(0.1) or start > 10**8:
                return

    producer = threading.Thread(target=produce)
    producer.start()
    reader = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, time, statistics\n"
            "from exchange_platform.settings import load_settings\n"
            "from exchange_platform.stores.lake.lake import Lake\n"
            "lake = Lake.from_settings(load_settings(), read_only=True)\n"
            "times = []\n"
            "for number in range(1000):\n"
            "    began = time.perf_counter()\n"
            "    lake.query('SELECT count(*), sum(stake) FROM executions')\n"
            "    times.append(time.perf_counter() - began)\n"
            "print(f'{1000 * statistics.median(times):.1f}')\n",
        ],
        env=environment(ready),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    stop.set()
    producer.join()
    consumer.stop()
    running.join()
    assert reader.returncode == 0, reader.stderr
    print(f"median of 1,000 queries: {reader.stdout.strip()} ms")
