"""Four consumer runs on four shards against one run on the same records, each run a process; and a reshard
while they consume.

    python -m benchmarks.scale [--records 28000] [--runs 3] [--round-trip-ms 50]

The stream is the emulator's, the engine, the sharing, fencing and checkpoints are the platform's. The target,
3 times the records of one run, is for stores that are not the limit: so the sink stands for a store across a
network that has room for all runs. It waits 50 ms, off the CPU, for each 50 records, so that one run is held
up by its own commits alone. Then the same without these waits and with the real embedded stores, which says
where the limit is on this machine, by processor time and by SQLite's write lock as measured. Time runs from
the start of the runs, opening their stores included, to the last commit. Every record is looked for: seen
once by the waiting store, and the same rows in the real ones. Ends with status 1 if the target is missed or a
record is.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from benchmarks.scale_run import REAL, ROWS, RunFigures, identity
from benchmarks.stage import emulator
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.operational.consumers.consumers import Checkpoints, ConsumerRows
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.schema import migrate
from exchange_platform.streams.engine.sharing import consumer_names
from exchange_platform.streams.engine.source import HASHES, SHARD_END
from exchange_platform.streams.sinks.operational import OPERATIONAL_DATABASE
from exchange_platform.streams.sources.kinesis import Publisher, ensure_stream
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from tests.support.platform_parts import encoded, environment, lake_rows, operational_rows, wait_for
from tests.support.workload import matched_pairs

SHARDS = 4
TARGET = 3.0
_MARKETS = 4_000
"""So many that the hashes of their ids fill the shards evenly."""
_PIECE = 500
_FULL = 0.85
"""Of what is this much in use is called the limit."""


@dataclass(frozen=True)
class Outcome:
    """One measurement: so many runs consumed everything."""

    seconds: float
    figures: Sequence[RunFigures]
    runs_cores: float
    emulator_cores: float
    machine_cores: float
    """In use by everybody on this machine."""

    @property
    def other_cores(self) -> float:
        """In use by what has nothing to do with this."""
        return max(0.0, self.machine_cores - self.runs_cores - self.emulator_cores)

    @property
    def rate(self) -> float:
        """Records a second, from the start of the runs to the last commit."""
        return sum(run.records for run in self.figures) / self.seconds

    @property
    def seen(self) -> Counter[str]:
        """How often each record was committed."""
        return Counter(name for run in self.figures for names in run.seen.values() for name in names)

    @property
    def lock_held(self) -> float:
        """The share of the time in which some run held SQLite's write lock."""
        return sum(run.lock_held_s for run in self.figures) / self.seconds

    @property
    def lock_waited(self) -> float:
        """The share of the time that a run's threads waited for it, added up, on average."""
        return sum(run.lock_waited_s for run in self.figures) / self.seconds / len(self.figures)


class Runs:
    """Consumer runs that share a stream, as processes: ready when entered, terminated at the end."""

    def __init__(self, settings: Settings, store: str) -> None:
        self._settings = settings
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.scale_run", str(share), store],
                env=environment(settings),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for share in range(settings.bets_consumers)
        ]

    def __enter__(self) -> Runs:
        for process in self._processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n", "a consumer run did not start"
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()

    def begin(self) -> Cores:
        """Let all of them consume."""
        cores = Cores([process.pid for process in self._processes])
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
        return cores

    def wait_until_caught_up(self, since_us: int) -> None:
        """Return once each has committed all that had arrived by then."""
        database = Database(self._settings.operational_database_url)
        rows = ConsumerRows(database)
        names = consumer_names(self._settings, EXCHANGE_BETS)

        def all_are() -> bool:
            assert all(process.poll() is None for process in self._processes), "a consumer run ended early"
            newest = [rows.newest(name) for name in names]
            return all(row is not None and (row.caught_up_at_us or 0) > since_us for row in newest)

        wait_for(all_are, timeout_s=500, what="all consumer runs caught up")
        database.dispose()

    def end(self) -> list[RunFigures]:
        """Terminate them; what each says that it did."""
        for process in self._processes:
            process.terminate()
        said = [process.communicate(timeout=60)[0] for process in self._processes]
        assert [process.returncode for process in self._processes] == [0] * len(said), "a consumer run failed"
        return [msgspec.json.decode(text, type=RunFigures) for text in said]


class Cores:
    """Processor time, looked at ten times a second: of these runs, the emulator, the machine."""

    def __init__(self, runs: Sequence[int]) -> None:
        self._runs = [psutil.Process(pid) for pid in runs]
        self._emulator = [
            child
            for child in psutil.Process().children()
            if "exchange_platform.local.emulator.server" in child.cmdline()
        ]
        self.began_at = time.monotonic()
        self._samples = [self._look()]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def used_until(self, moment: float) -> tuple[float, float, float]:
        """Cores in use from the beginning to then, on average, by each of the three. Looks no longer."""
        self._ended.set()
        self._thread.join()
        first = self._samples[0]
        last = self._samples[bisect_right([sample[0] for sample in self._samples], moment) - 1]
        seconds = last[0] - first[0]
        runs, emulated, machine = ((last[place] - first[place]) / seconds for place in (1, 2, 3))
        return runs, emulated, machine

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            try:
                self._samples.append(self._look())
            except psutil.NoSuchProcess:  # the runs have been terminated
                return

    def _look(self) -> tuple[float, float, float, float]:
        times = psutil.cpu_times()
        busy = times.user + times.system + times.nice + times.irq + times.softirq
        return (time.monotonic(), _spent_s(self._runs), _spent_s(self._emulator), busy)


def _spent_s(processes: Sequence[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


class Stage:
    """The emulator with a stream of four shards that holds the workload, and a new directory of stores for
    each measurement.
    """

    def __init__(self, settings: Settings, records: int) -> None:
        self._settings = settings
        self._kinesis = aws_client(settings, "kinesis")
        self._measured = 0
        workload = list(matched_pairs(records // 7, users=500, markets=_MARKETS))
        self.pairs = records // 7
        self.identities = Counter(map(identity, workload))
        self._data = encoded(workload)
        self._publish(self._stream("whole"), self._data)

    def consume(self, runs: int, store: str) -> tuple[Outcome, Settings]:
        """Consume the stream by so many runs into new stores of a kind; and the settings that find these."""
        settings = self._new_stores(runs, "scale-whole")
        with Runs(settings, store) as consumers:
            cores = consumers.begin()
            consumers.wait_until_caught_up(SYSTEM_CLOCK.now_us())
            figures = consumers.end()
        last = max(run.last_commit_at for run in figures)
        return Outcome(last - cores.began_at, figures, *cores.used_until(last)), settings

    def reshard(self, store: str) -> None:
        """Merge two shards and split one while four runs consume what is being published; say what became of
        it.
        """
        settings = self._new_stores(SHARDS, self._stream("resharded"))
        third = len(self._data) // 3
        with Runs(settings, store) as consumers:
            cores = consumers.begin()
            self._publish(settings.bets_stream, self._data[:third], pause_s=0.05)
            first, second, third_shard, _ = self._shards(settings.bets_stream)
            self._kinesis.merge_shards(
                StreamName=settings.bets_stream, ShardToMerge=second, AdjacentShardToMerge=third_shard
            )
            self._publish(settings.bets_stream, self._data[third : 2 * third], pause_s=0.05)
            self._kinesis.split_shard(
                StreamName=settings.bets_stream, ShardToSplit=first, NewStartingHashKey=str(HASHES // 8)
            )
            since_us = self._publish(settings.bets_stream, self._data[2 * third :], pause_s=0.05)
            consumers.wait_until_caught_up(since_us)
            figures = consumers.end()
        last = max(run.last_commit_at for run in figures)
        outcome = Outcome(last - cores.began_at, figures, *cores.used_until(last))
        database = Database(settings.operational_database_url)
        positions = Checkpoints(database, OPERATIONAL_DATABASE).positions(EXCHANGE_BETS)
        database.dispose()
        closed = {shard for shard, position in positions.items() if position == SHARD_END}
        parents = {shard.partition("@")[0] for shard in closed}
        assert parents == {first, second, third_shard}, f"finished are {sorted(closed)}"
        children = sorted(positions)[SHARDS:]
        after = sum(len(run.seen.get(shard, ())) for run in figures for shard in children)
        print(
            f"reshard under load: 2 shards merged and 1 split while {SHARDS} runs consumed what was being published:"
            f" {len(closed)} shards read to their end, {after:,} records from their {len(children)} children"
            f" | {self.told_once(outcome)}"
        )

    def told_once(self, outcome: Outcome) -> str:
        """Fails unless each record was committed exactly once; says so."""
        lost, doubled = self.identities - outcome.seen, outcome.seen - self.identities
        assert not lost, f"{lost.total()} records are lost"
        assert not doubled, f"{doubled.total()} records are doubled"
        return f"{outcome.seen.total():,} of {self.identities.total():,} records seen, 0 lost, 0 doubled"

    def _new_stores(self, runs: int, stream: str) -> Settings:
        self._measured += 1
        settings = self._settings.model_copy(
            update={
                "data_dir": self._settings.data_dir / f"measured-{self._measured}",
                "profiles_table": f"profiles-{self._measured}",
                "bets_stream": stream,
                "bets_consumers": runs,
            }
        )
        migrate(settings)
        return settings

    def _stream(self, name: str) -> str:
        ensure_stream(self._kinesis, f"scale-{name}", shards=SHARDS)
        return f"scale-{name}"

    def _publish(self, stream: str, data: Sequence[tuple[str, bytes]], *, pause_s: float = 0.0) -> int:
        publisher = Publisher(self._kinesis, stream, aggregate=True)
        for start in range(0, len(data), _PIECE):
            publisher.publish(data[start : start + _PIECE])
            time.sleep(pause_s)
        return SYSTEM_CLOCK.now_us()

    def _shards(self, stream: str) -> list[str]:
        listed = self._kinesis.list_shards(StreamName=stream)["Shards"]
        return [
            shard["ShardId"]
            for shard in sorted(listed, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))
        ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=28_000)
    parser.add_argument("--runs", type=int, default=3, help="measurements of each kind")
    parser.add_argument("--round-trip-ms", type=float, default=50.0, help="of the store that waits")
    given = parser.parse_args()
    waits = f"{given.round_trip_ms:g}"
    with tempfile.TemporaryDirectory() as directory, emulator(Path(directory)) as settings:
        stage = Stage(settings, given.records)
        print(
            f"{stage.identities.total():,} records on {SHARDS} shards, {psutil.cpu_count()} cores, medians of {given.runs};"
            f" a store that waits: {waits} ms off the CPU for each {ROWS} records"
        )
        ratio = measure(stage, f"store that waits {waits} ms", waits, given.runs)
        met = ratio >= TARGET
        print(f"  target {TARGET}: {'met' if met else 'MISSED'}")
        measure(stage, "store that does not wait", "0", given.runs)
        measure(stage, "real stores (SQLite, lake, profile view)", REAL, given.runs)
        stage.reshard(waits)
    if not met:
        sys.exit(1)


def measure(stage: Stage, name: str, store: str, times: int) -> float:
    """Compare four runs with one, alternately; print it, what it used, and what bounds four; returns the
    ratio.
    """
    ones, fours = [], []
    for _ in range(times):
        one, of_one = stage.consume(1, store)
        four, of_four = stage.consume(SHARDS, store)
        ones.append(one)
        fours.append(four)
        if store == REAL:
            told = same_rows(of_one, of_four, stage.pairs)
        else:
            stage.told_once(one)
            told = stage.told_once(four)
    before, after = (statistics.median(outcome.rate for outcome in outcomes) for outcomes in (ones, fours))
    print(
        f"{name}: 1 run {before:,.0f} records/s, {SHARDS} runs {after:,.0f}: ratio {after / before:.2f} | {told}"
    )
    for runs, outcomes in ((1, ones), (SHARDS, fours)):
        print(f"  {runs} run{'s' if runs > 1 else ' '}: {used(outcomes)}")
    print(f"  {SHARDS} runs are bound by {limit(fours)}")
    return after / before


def same_rows(of_one: Settings, of_four: Settings, pairs: int) -> str:
    """Fails unless both have every bet and execution, and the same rows in every table; says so."""
    operational, lake = operational_rows(of_one), lake_rows(of_one)
    assert len(operational["bets"]) == 2 * pairs, f"{len(operational['bets'])} bets of {2 * pairs}"
    assert len(lake["executions"]) == pairs, f"{len(lake['executions'])} executions of {pairs}"
    assert operational_rows(of_four) == operational, "other rows in the operational database"
    assert lake_rows(of_four) == lake, "other rows in the lake"
    tables = len(operational) + len(lake)
    return f"{2 * pairs:,} bets, {pairs:,} executions; {tables} tables have the same rows by 1 run and by {SHARDS}"


def used(outcomes: Sequence[Outcome]) -> str:
    """What was in use, as medians."""
    texts = [
        f"cores in use: runs {median(outcomes, 'runs_cores'):.2f}, emulator {median(outcomes, 'emulator_cores'):.2f},"
        f" others on this machine {median(outcomes, 'other_cores'):.2f}",
        f"SQLite's write lock held {median(outcomes, 'lock_held'):.0%} of the time,"
        f" waited for {median(outcomes, 'lock_waited'):.0%} of a run's",
    ]
    for sink in outcomes[0].figures[0].commit_s:
        busy = statistics.median(
            sum(run.commit_s.get(sink, 0.0) for run in outcome.figures)
            / outcome.seconds
            / len(outcome.figures)
            for outcome in outcomes
        )
        texts.append(f"{sink} commits {busy:.0%} of a run's time")
    return "; ".join(texts)


def limit(outcomes: Sequence[Outcome]) -> str:
    """What is (nearly) all in use, and what is not."""
    cores = psutil.cpu_count() or 1
    shares = {
        f"the {cores} cores": median(outcomes, "machine_cores") / cores,
        "the emulator's one process": median(outcomes, "emulator_cores"),
        "SQLite's one writer at a time": median(outcomes, "lock_held"),
    }
    full = [f"{name} ({share:.0%} in use)" for name, share in shares.items() if share >= _FULL]
    if full:
        return " and ".join(full)
    fullest = max(shares, key=lambda name: shares[name])
    return (
        f"what they wait for: nothing here is used up, most of all {fullest} ({shares[fullest]:.0%} in use)"
    )


def median(outcomes: Sequence[Outcome], figure: str) -> float:
    """The median of one of the outcomes' figures."""
    return statistics.median(float(getattr(outcome, figure)) for outcome in outcomes)


if __name__ == "__main__":
    main()
