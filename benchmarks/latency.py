"""From an acknowledged put to the commit in each store, with `exchange-platform up`, Dagster and emulator
included.

Publishes at a steady rate and watches the stores' checkpoints. Baseline in the same run: how long one Dagster
run takes, which is what a run per batch would add. python -m benchmarks.latency [--rate N] [--seconds N]
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa
from botocore.exceptions import BotoCoreError, ClientError

from exchange_platform.domain.records import encode
from exchange_platform.settings import Settings, load_settings, read_platform_file
from exchange_platform.settings.aws import aws_client, is_transient
from exchange_platform.stores.lake import Lake
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from tests.support.workload import matched_pairs

CHECKOUT = Path(__file__).parents[1]
Samples = list[tuple[float, int]]
_PUTS = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=1000, help="records a second")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--port", type=int, default=3987)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        data_dir = Path(directory)
        up = subprocess.Popen(
            [
                *(sys.executable, "-m", "exchange_platform", "up", "--exchange", "none"),
                *("--data-dir", directory, "--port", str(arguments.port)),
            ],
            stdout=subprocess.DEVNULL,
            cwd=CHECKOUT,
            # One run to the end, however long that is: its memory is looked at.
            env={**os.environ, "EXCHANGE_PLATFORM_RUN_DURATION_S": str(max(900, arguments.seconds + 300))},
        )
        try:
            settings = _when_ready(data_dir)
            _measure(settings, arguments.rate, arguments.seconds)
            _baseline(str(read_platform_file(data_dir)["dagster_url"]))
        finally:
            up.terminate()
            up.wait(60)


def _when_ready(data_dir: Path) -> Settings:
    while True:
        try:
            settings = load_settings(data_dir)
            if settings.aws_endpoint_url:
                lake = Lake.from_settings(settings, read_only=True)
                ready = bool(lake.positions(EXCHANGE_BETS))
                lake.close()
                if ready:
                    return settings
        except Exception:  # not there yet
            time.sleep(0.1)
        time.sleep(0.5)


def _measure(settings: Settings, rate: int, seconds: int) -> None:
    watched: dict[str, Samples] = {"operational_database": [], "profile_view": [], "lake": []}
    ended = threading.Event()
    watchers = [
        threading.Thread(target=_watch_database, args=(settings, watched, ended)),
        threading.Thread(target=_watch_lake, args=(settings, watched["lake"], ended)),
    ]
    for watcher in watchers:
        watcher.start()
    memory = RunMemory(str(settings.data_dir))
    try:
        with memory:
            acknowledged = _publish(settings, rate, seconds)
            last = acknowledged[-1][1]
            while any(not samples or samples[-1][1] < last for samples in watched.values()):
                time.sleep(0.1)
    except BaseException:
        print(memory.text())  # what took so long to see
        raise
    finally:
        ended.set()
        for watcher in watchers:
            watcher.join()
    print(f"{len(acknowledged):,} puts, {last:,} records at {rate:,}/s for {seconds} s:")
    for sink, samples in watched.items():
        lags = _lags(acknowledged, samples)
        print(
            f"  {sink:<22} p50 {1000 * statistics.median(lags):6.0f} ms   p99 {1000 * lags[int(0.99 * len(lags))]:6.0f} ms"
            f"   worst {1000 * lags[-1]:6.0f} ms"
        )
    print(memory.text())


class RunMemory:
    """The memory of the largest consumer run, looked at every ten seconds: resident, and what of it is the
    run's alone.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._samples: list[tuple[float, float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> RunMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look(time.monotonic())

    def _watch(self) -> None:
        while not self._ended.wait(10):
            self._look(time.monotonic())

    def _look(self, now: float) -> None:
        sizes = []
        for process in psutil.process_iter():
            try:
                if (
                    "multiprocessing.spawn" in " ".join(process.cmdline())
                    and process.environ().get("EXCHANGE_PLATFORM_DATA_DIR") == self._directory
                ):
                    memory = process.memory_full_info()
                    sizes.append((memory.rss / 1e6, memory.uss / 1e6))
            except psutil.Error:  # ended meanwhile
                continue
        if sizes:
            self._samples.append((now, *max(sizes)))

    def text(self) -> str:
        """At the end and at most, and how it went: a figure for each tenth of the time."""
        if not self._samples:
            return "  no consumer run was seen"
        _, rss, own = self._samples[-1]
        peak = max(size for _, size, _ in self._samples)
        tenth = max(1, len(self._samples) // 10)
        course = " ".join(f"{size:.0f}" for _, size, _ in self._samples[::tenth])
        return f"  memory of a consumer run: {rss:.0f} MB at the end ({own:.0f} its own), {peak:.0f} at most; over time {course}"


def _publish(settings: Settings, rate: int, seconds: int) -> Samples:
    """Publish at the rate; (when acknowledged, highest sequence number) of each put."""
    client = aws_client(settings, "kinesis")
    records = matched_pairs(
        rate * seconds // 7, users=500, start=datetime.now(UTC), step=timedelta(seconds=7 / rate)
    )
    acknowledged: Samples = []
    began = time.monotonic()
    sent = 0
    waiting: list[dict[str, Any]] = []
    for record in records:
        waiting.append({"PartitionKey": record.market_id, "Data": encode(record)})
        if len(waiting) >= max(1, rate // 20):
            pause = began + sent / rate - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            answer = _put(client, settings.bets_stream, waiting)
            acknowledged.append((time.monotonic(), int(answer["Records"][-1]["SequenceNumber"])))
            sent += len(waiting)
            waiting = []
    return acknowledged


def _put(client: Any, stream: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    """Put records, again where no answer came, as a producer does; an emulator that is gone ends it."""
    for _ in range(_PUTS - 1):
        try:
            return dict(client.put_records(StreamName=stream, Records=records))
        except (ClientError, BotoCoreError) as error:
            if not is_transient(error):
                raise
            print(f"  put again: {error}", flush=True)
            time.sleep(1)
    return dict(client.put_records(StreamName=stream, Records=records))


def _watch_database(settings: Settings, watched: dict[str, Samples], ended: threading.Event) -> None:
    # As plain as can be: looked at 200 times a second, it should cost the platform's machine next to nothing.
    database = sqlite3.connect(str(sa.make_url(settings.operational_database_url).database))
    while not ended.wait(0.005):
        rows = database.execute(
            "SELECT sink, position FROM checkpoints WHERE source = ?", (EXCHANGE_BETS,)
        ).fetchall()
        now = time.monotonic()
        for sink, position in rows:
            _note(watched[sink], now, position)
    database.close()


def _watch_lake(settings: Settings, samples: Samples, ended: threading.Event) -> None:
    lake = Lake.from_settings(settings, read_only=True)
    while not ended.wait(0.2):
        for position in lake.positions(EXCHANGE_BETS).values():
            _note(samples, time.monotonic(), position)
    lake.close()


def _note(samples: Samples, now: float, position: str | None) -> None:
    if position is not None and (not samples or int(position) > samples[-1][1]):
        samples.append((now, int(position)))


def _lags(acknowledged: Samples, samples: Samples) -> list[float]:
    """For each put, how long after its acknowledgement its last record was seen committed; sorted."""
    positions = [position for _, position in samples]
    return sorted(max(0.0, samples[bisect_left(positions, number)][0] - at) for at, number in acknowledged)


def _baseline(url: str) -> None:
    """Launch a small job three times, as a run per batch would."""
    times = []
    for _ in range(3):
        began = time.monotonic()
        run_id = _ask(
            url,
            'mutation { launchRun(executionParams: {selector: {repositoryLocationName: "exchange-platform",'
            ' repositoryName: "__repository__", jobName: "maintain_lake"}}) { ... on LaunchRunSuccess { run { runId } } } }',
        )["launchRun"]["run"]["runId"]
        while True:
            run = _ask(url, f'{{ runOrError(runId: "{run_id}") {{ ... on Run {{ status }} }} }}')[
                "runOrError"
            ]
            if run["status"] in ("SUCCESS", "FAILURE"):
                break
            time.sleep(0.1)
        times.append(time.monotonic() - began)
    print(
        f"  baseline: one Dagster run takes {statistics.median(times):.1f} s, asked for to finished (median of 3)"
    )


def _ask(url: str, query: str) -> Any:
    request = urllib.request.Request(
        f"{url}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


if __name__ == "__main__":
    main()
