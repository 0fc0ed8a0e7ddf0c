"""How the platform is, read from its stores and never from the stream's quota. Not here: how that is shown
(cli/, local/).

The JSON of `status --json` is `PlatformStatus`, field by field (docs/cli.md): fields may be added, none
change their meaning.
"""

from __future__ import annotations

import threading

import msgspec
import sqlalchemy as sa

from exchange_platform.operations.machine_faults import machine_faults
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.runs.liveness import RunCondition, condition_here
from exchange_platform.settings import Settings, read_platform_file
from exchange_platform.stores.checkpoints import TablesMissing
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.consumers.consumers import ConsumerRow, ConsumerRows
from exchange_platform.stores.operational.consumers.lost_spans import lost_spans
from exchange_platform.stores.operational.consumers.signs import ShardSigns, SinkSigns
from exchange_platform.stores.operational.database import (
    Database,
    checkpoints,
    consumers,
    dead_letters,
    profiles,
    restatements,
)
from exchange_platform.stores.operational.mails.figures import NotificationFigures, notification_figures
from exchange_platform.stores.operational.tables.events import events
from exchange_platform.streams.engine.sharing import consumer_names, source_of
from exchange_platform.streams.sources.names import EXCHANGE_BETS, EXCHANGE_FEED

SOURCES = (EXCHANGE_BETS, EXCHANGE_FEED)
CAUGHT_UP_WAIT_S = 3.0
_ASK_AGAIN_S = 0.25
_MACHINE_EVERY_S = 5.0
"""The machine is looked at by writing a small file."""


class ShardStatus(msgspec.Struct, frozen=True):
    """One shard of a source (`shard` is null before anything was read) and the consumer that reads it.

    `consumer` is the source's name, or, where several share it out, that of the share:
    `exchange-bets/1-of-4`.
    """

    source: str
    consumer: str
    shard: str | None
    epoch: int
    position: str | None
    lag_ms: float | None
    records: int
    heartbeat_age_s: float | None
    at_tip: bool
    sinks: dict[str, SinkSigns]


class ConsumerStatus(msgspec.Struct, frozen=True):
    """The newest consumer of a source, or of a share of it. `state`: running, ended, superseded, failed, or
    silent (its heartbeat stopped, or its process is gone).
    """

    source: str
    epoch: int
    run_id: str
    state: str
    heartbeat_age_s: float
    ends_in_s: float
    records: int
    rate: float
    lag_ms: float
    caught_up: bool
    trouble: list[str]
    last_error: str = ""


class WindowCounts(msgspec.Struct, frozen=True):
    """Windows: `open` wait to be closed (a market's five minutes counts once), `closed` are the rows of
    odds_windows.
    """

    open: int
    closed: int


class PlatformStatus(msgspec.Struct, frozen=True):
    """The whole platform at an instant. `records` is what consumers read since the beginning, repeats
    included.
    """

    as_of_us: int
    running: bool
    caught_up: bool
    sources: list[ShardStatus]
    consumers: list[ConsumerStatus]
    records: int
    executions: int | None
    bets: int
    profiles: int
    events: int
    windows: WindowCounts
    dead_letters: int
    dead_letters_replayed: int
    restatements: int
    urls: dict[str, str]
    notifications: NotificationFigures
    lost_spans: int = 0
    """That nobody acknowledged."""
    machine: list[str] = []
    """What a local platform's machine lacks, and what `up` saw going wrong on it."""


class NoPlatform(Exception):
    """There are no stores to read here."""


class StatusReader:
    """Reads the status again and again over the same connections. For one thread at a time."""

    def __init__(self, settings: Settings, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._settings = settings
        self._clock = clock
        self._lake: Lake | None = None
        self._machine: list[str] = []
        self._machine_at_s: float | None = None
        self._waiting = threading.Event()
        if settings.database_url is None and not (settings.data_dir / "operational.sqlite").exists():
            raise NoPlatform(
                f"there is no platform in {settings.data_dir}: `exchange-platform up` starts one, --data-dir names another place"
            )
        self._database = Database(settings.operational_database_url)

    def read(self, *, since_us: int | None = None, with_lake: bool = True) -> PlatformStatus:
        """The status now. `caught_up` says whether every source was caught up at some instant not before
        `since_us`.

        Without `since_us`: at the last heartbeat. Without `with_lake`, executions are null and windows are
        the consumers' own figures. Raises `StoreUnavailable`, and `NoPlatform` where the schemas are missing.
        """
        now_us = self._clock.now_us()
        try:
            figures = self._figures()
            consumer_rows = ConsumerRows(self._database)
            rows = {
                name: consumer_rows.newest(name)
                for source in SOURCES
                for name in consumer_names(self._settings, source)
            }
            sinks = self._sink_positions()
            notifications = notification_figures(self._database, now_us=now_us)
        except sa.exc.DBAPIError as error:
            raise NoPlatform(
                f"the operational database has no such tables yet: `exchange-platform migrate` ({error.orig})"
            ) from error
        except TablesMissing as error:
            raise NoPlatform(
                f"the database in {self._settings.data_dir} has no tables yet: `exchange-platform migrate` makes them"
            ) from error
        told = [self._consumer(row, now_us, since_us) for row in rows.values() if row is not None]
        executions, windows = None, _windows_told(rows)
        if with_lake:
            executions, windows = self._lake_figures()
        return PlatformStatus(
            as_of_us=now_us,
            running=any(consumer.state == "running" for consumer in told),
            caught_up=len(told) == len(rows) and all(consumer.caught_up for consumer in told),
            sources=[shard for name, row in rows.items() for shard in _shards(name, row, now_us, sinks)],
            consumers=told,
            executions=executions,
            windows=windows,
            urls=_urls(self._settings),
            notifications=notifications,
            machine=self._machine_faults(),
            **figures,
        )

    def read_when_caught_up(self, wait_s: float = CAUGHT_UP_WAIT_S) -> PlatformStatus:
        """The status, as soon as every source was caught up after this call began, or after `wait_s` at the
        latest.
        """
        asked_us = self._clock.now_us()
        until = self._clock.monotonic_s() + wait_s
        while True:
            status = self.read(since_us=asked_us, with_lake=False)
            if status.caught_up or not status.running or self._clock.monotonic_s() >= until:
                # The lake is read last, so that its counts hold at least what made it `caught_up`.
                full = self.read(since_us=asked_us)
                return msgspec.structs.replace(full, caught_up=status.caught_up or full.caught_up)
            self._clock.wait(self._waiting, _ASK_AGAIN_S)

    def close(self) -> None:
        """Close the connections."""
        self._database.dispose()
        if self._lake is not None:
            self._lake.close()

    def _machine_faults(self) -> list[str]:
        now_s = self._clock.monotonic_s()
        if self._machine_at_s is None or now_s - self._machine_at_s >= _MACHINE_EVERY_S:
            self._machine, self._machine_at_s = machine_faults(self._settings), now_s
        return self._machine

    def _figures(self) -> dict[str, int]:
        with self._database.read() as connection:
            bets_known, profiles_known = connection.execute(
                sa.select(sa.func.coalesce(sa.func.sum(profiles.c.bets), 0), sa.func.count())
            ).one()
            events_known = connection.execute(sa.select(sa.func.count()).select_from(events)).scalar_one()
            waiting = connection.execute(
                sa.select(sa.func.count()).where(dead_letters.c.replayed_at_us.is_(None))
            ).scalar_one()
            replayed = connection.execute(
                sa.select(sa.func.count()).where(dead_letters.c.replayed_at_us.is_not(None))
            ).scalar_one()
            lost = connection.execute(
                sa.select(sa.func.count()).where(lost_spans.c.acknowledged_at_us.is_(None))
            ).scalar_one()
            restated = connection.execute(sa.select(sa.func.count()).select_from(restatements)).scalar_one()
            records = connection.execute(
                sa.select(sa.func.coalesce(sa.func.sum(consumers.c.records), 0)).where(
                    sa.or_(
                        consumers.c.source.in_(SOURCES),
                        *(consumers.c.source.startswith(f"{source}/") for source in SOURCES),
                    )
                )
            ).scalar_one()
        return {
            "records": int(records),
            "bets": int(bets_known),
            "profiles": int(profiles_known),
            "events": int(events_known),
            "dead_letters": int(waiting),
            "dead_letters_replayed": int(replayed),
            "restatements": int(restated),
            "lost_spans": int(lost),
        }

    def _sink_positions(self) -> dict[tuple[str, str], str | None]:
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(checkpoints.c.source, checkpoints.c.shard, checkpoints.c.position)
            ).all()
        return {(row.source, row.shard): row.position for row in rows}

    def _lake_figures(self) -> tuple[int, WindowCounts]:
        if self._lake is None:
            self._lake = Lake.from_settings(self._settings, read_only=True)
        counts = self._lake.counts()
        return counts.executions, WindowCounts(counts.open_windows, counts.closed_windows)

    def _consumer(self, row: ConsumerRow, now_us: int, since_us: int | None) -> ConsumerStatus:
        age_s = abs(now_us - row.heartbeat_at_us) / 1e6  # of one that lies ahead: how far
        condition = condition_here(row, now_us=now_us, settings=self._settings)
        state = row.state if condition in (RunCondition.ALIVE, RunCondition.ENDED) else "silent"
        needed_us = (
            row.heartbeat_at_us - int(self._settings.stale_heartbeat_s * 1e6)
            if since_us is None
            else since_us
        )
        trouble = row.statistics.trouble
        return ConsumerStatus(
            source=row.source,
            epoch=row.epoch,
            run_id=row.run_id,
            state=state,
            heartbeat_age_s=round(age_s, 3),
            ends_in_s=round((row.ends_at_us - now_us) / 1e6, 1),
            records=row.records,
            rate=round(row.rate, 1) if state == "running" else 0.0,
            lag_ms=round(row.lag_ms, 1),
            caught_up=state == "running"
            and row.caught_up_at_us is not None
            and row.caught_up_at_us >= needed_us,
            trouble=trouble,
            last_error="; ".join(trouble),
        )


def _shards(
    name: str, row: ConsumerRow | None, now_us: int, held: dict[tuple[str, str], str | None]
) -> list[ShardStatus]:
    """The shards that the newest consumer reads; before it has said which, those that have a checkpoint (of a
    share: it will say).
    """
    source = source_of(name)
    shards: dict[str | None, ShardSigns] = {}
    if row is not None:
        shards.update(row.statistics.shards)
    if not shards:
        shards = {shard: ShardSigns() for of, shard in held if of == name} or {None: ShardSigns()}
    return [
        ShardStatus(
            source=source,
            consumer=name,
            shard=shard,
            epoch=row.epoch if row is not None else 0,
            position=signs.position or (held.get((source, shard)) if shard is not None else None),
            lag_ms=round(signs.lag_ms, 1) if signs.lag_ms is not None else None,
            records=signs.records,
            heartbeat_age_s=round(abs(now_us - row.heartbeat_at_us) / 1e6, 3) if row is not None else None,
            at_tip=signs.at_tip,
            sinks=row.statistics.sinks if row is not None else {},
        )
        for shard, signs in shards.items()
    ]


def _windows_told(rows: dict[str, ConsumerRow | None]) -> WindowCounts:
    # The consumers of one lake all count its windows.
    told = [row.statistics.windows for row in rows.values() if row is not None]
    return WindowCounts(
        max((windows.open for windows in told), default=0),
        max((windows.closed for windows in told), default=0),
    )


def _urls(settings: Settings) -> dict[str, str]:
    running = read_platform_file(settings.data_dir)
    return {
        name: str(running[key])
        for name, key in (("dagster", "dagster_url"), ("api", "api_url"), ("aws", "aws_endpoint_url"))
        if running.get(key)
    }
