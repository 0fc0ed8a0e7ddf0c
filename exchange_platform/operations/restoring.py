"""Restoring what a damaged lake held: from the file's own copy, the operational database, the outbox and what
the stream still holds.

Every step adds only what is missing, so the whole may be killed at any moment and begun again. What nobody
holds any more is counted by market and stays on record, until it came back (an archive was replayed) or was
accepted. Taking files out is lake/losses.py's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import duckdb
import msgspec
import sqlalchemy as sa

from exchange_platform.domain.bets import Bet, BetStatus
from exchange_platform.domain.records import BetUpdate, Execution, Record, UndecodableRecord, decode
from exchange_platform.process.decoders import json_decoder
from exchange_platform.settings import Settings
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.lake import losses as lake_losses
from exchange_platform.stores.lake.files import (
    DamagedFile,
    FileUnreadable,
    LakeDamaged,
    digest,
    inner_damage,
)
from exchange_platform.stores.lake.inspection import inspect
from exchange_platform.stores.lake.losses import LakeLoss, LossState, LostFile
from exchange_platform.stores.lake.restoring import add_missing, add_missing_from_file, reopen
from exchange_platform.stores.operational.bets.rows import bet_from_row
from exchange_platform.stores.operational.database import Database, bets, outbox, to_us
from exchange_platform.streams.engine.source import ShardsChanged, Source, SourceUnavailable, Throttled
from exchange_platform.streams.sources.names import EXCHANGE_BETS

T = TypeVar("T")

ROWS_AT_ONCE = 10_000
SET_ASIDE = "lake.damaged-"
"""How the name of a lake begins that was set aside with its catalog, in the data directory."""
_IMPORTED = "imported"
_READ_PAUSE_S = 0.2
_SILENT_READS = 100
ASIDE, DATABASE = "the lake that was set aside", "the operational database"
_OF_STREAM = ("executions", "bet_history")

Say = Callable[[str], None]


class NothingDecided(Exception):
    """All files are gone at once, which is more likely a missing disk than damage: nothing was taken out."""


@dataclass(frozen=True, slots=True)
class RestoredRows:
    """What a restoring found and did."""

    taken_out: tuple[LakeLoss, ...]
    """Losses that were found by it."""
    losses: tuple[LakeLoss, ...]
    """Every loss that was open when it began or was found by it, as it is now."""
    added: dict[str, int]
    """Rows added, by where they came from."""
    windows: int
    """Windows opened again, for the consumer to close."""
    not_asked: tuple[str, ...]
    """Where rows may still be, and why it could not be asked."""
    unreadable: tuple[str, ...]
    """Files of a lake that was set aside that can't be read: nobody knows what they held."""

    @property
    def complete(self) -> bool:
        """Whether no row is missing, or that was accepted."""
        return not self.unreadable and all(loss.state is not LossState.OPEN for loss in self.losses)


def restore_lake(
    settings: Settings,
    database: Database,
    source: Source | None,
    *,
    accept: bool = False,
    even_all: bool = False,
    say: Say = lambda _: None,
    now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    wait: Callable[[float], None] = time.sleep,
) -> RestoredRows:
    """Take every damaged file out of the lake and put back what can be had; with `accept`, decide to go on
    without what can't.

    `source` is the stream of bets, None where it can't be asked. With `even_all` files are taken out although
    all of them are gone. Raises `StoreUnavailable`, `NothingDecided` and `LakeDamaged` (the catalog: see
    `set_aside`).
    """
    lake = Lake.from_settings(settings)
    try:
        asides = _set_asides(settings.data_dir)
        added: dict[str, int] = {}
        unreadable: list[str] = []
        if asides:
            added[ASIDE], unreadable = _import(asides, lake, say)
            added[DATABASE] = _from_database(lake, database, None)
        taken_out = _take_out(lake, now_us(), even_all=even_all, say=say)
        losses = [loss for loss in lake_losses.losses(lake.connection) if loss.state is LossState.OPEN]
        not_asked: list[str] = []
        for origin, rows in _origins(lake, database, source, losses, not_asked, wait):
            say(f"Adding what is missing, from {origin} ...")
            added[origin] = added.get(origin, 0) + rows()
        windows = sum(reopen(lake.connection, loss.since, loss.until) for loss in losses)
        if asides:
            windows += reopen(lake.connection, None, None)
        decided = tuple(_decide(lake, loss, accept=accept) for loss in losses)
        if accept or not unreadable:
            _mark_imported(asides)
        return RestoredRows(
            tuple(taken_out),
            decided,
            added,
            windows,
            tuple(not_asked),
            () if accept else tuple(unreadable),
        )
    finally:
        lake.close()


def set_aside(settings: Settings, now: datetime) -> Path:
    """Set the lake aside whose catalog is damaged, and make a new one in its place; `restore_lake` then fills
    it. Returns where it lies now.

    Of a lake on PostgreSQL or S3 this is refused: its catalog is restored from the database's backups
    (docs/operations.md).
    """
    if settings.lake_catalog is not None or settings.lake_data_path is not None:
        raise LakeDamaged(
            "lake: its catalog is not in the data directory; restore its database to a point in time (docs/operations.md)"
        )
    lake, aside = settings.data_dir / "lake", settings.data_dir / f"{SET_ASIDE}{now:%Y%m%dT%H%M%S}"
    lake.rename(aside)
    made = Lake.from_settings(settings)
    try:
        made.migrate()
    finally:
        made.close()
    return aside


def _take_out(lake: Lake, now_us: int, *, even_all: bool, say: Say) -> list[LakeLoss]:
    say("Looking at every file ...")
    found = inspect(lake.connection, now_us, content_bytes=None, outer_files=None)
    if len(found.damaged) == found.files > 1 and _all_gone(found.damaged) and not even_all:
        raise NothingDecided(
            f"all of the lake's {found.files} files are gone: is the disk or the bucket that holds them there? Nothing was changed."
            " With --even-all they are taken out all the same"
        )
    return lake_losses.take_out(lake.connection, found.damaged, datetime.fromtimestamp(now_us / 1e6, UTC))


def _all_gone(damaged: Iterable[DamagedFile]) -> bool:
    return all("is gone" in one.reason for one in damaged)


def _origins(
    lake: Lake,
    database: Database,
    source: Source | None,
    losses: Sequence[LakeLoss],
    not_asked: list[str],
    wait: Callable[[float], None],
) -> Iterator[tuple[str, Callable[[], int]]]:
    """Where rows may come from, and what adds them."""
    of_stream = [loss for loss in losses if loss.table in _OF_STREAM]
    if not of_stream:
        return
    yield "the files themselves", lambda: sum(_from_kept_files(lake, loss) for loss in of_stream)
    of_bets = [loss for loss in of_stream if loss.table == "bet_history"]
    if of_bets:
        yield DATABASE, lambda: sum(_from_database(lake, database, loss) for loss in of_bets)
    if source is None:
        not_asked.append("the stream: no platform runs here, and none is configured")
        return
    yield "the stream", lambda: _from_stream(lake, source, of_stream, not_asked, wait)


def _decide(lake: Lake, loss: LakeLoss, *, accept: bool) -> LakeLoss:
    counted = lake_losses.count(lake.connection, loss)
    if loss.table not in _OF_STREAM:
        # Windows are opened again, positions read again: nothing of these is lost for good.
        counted = msgspec.structs.replace(counted, missing={}, missing_rows=0)
    state = LossState.OPEN
    if counted.missing_rows == 0:
        state = LossState.RESTORED
    elif accept:
        state = LossState.ACCEPTED
    return lake_losses.decide(lake.connection, counted, state)


def _from_kept_files(lake: Lake, loss: LakeLoss) -> int:
    """From the files that were taken out, where somebody put a whole copy back there, or they were whole
    after all.
    """
    return sum(
        add_missing_from_file(lake.connection, loss.table, file.path)
        for file in loss.files
        if _is_whole(lake, file)
    )


def _is_whole(lake: Lake, file: LostFile) -> bool:
    with lake.connection.scratch() as scratch:
        try:
            if file.digest is not None:
                return digest(scratch, file.path) == file.digest
            return inner_damage(scratch, file.path, file.rows) is None
        except FileUnreadable:
            return False


def _from_database(lake: Lake, database: Database, loss: LakeLoss | None) -> int:
    """The bets' newest versions, and those that the outbox still has; of the loss's span, or all."""
    added = 0
    for some in _batches(_bets_of(database, loss)):
        added += add_missing(lake.connection, [], some)
    return added


def _bets_of(database: Database, loss: LakeLoss | None) -> Iterator[Bet]:
    newest = sa.select(bets).where(bets.c.status != BetStatus.PENDING.value).order_by(bets.c.bet_id)
    changes = sa.select(outbox.c.bet).order_by(outbox.c.sequence)
    if loss is not None and loss.since is not None and loss.until is not None:
        since_us, until_us = to_us(loss.since), to_us(loss.until)
        newest = newest.where(bets.c.updated_at_us.between(since_us, until_us))
        changes = changes.where(outbox.c.changed_at_us.between(since_us, until_us))
    decoder = json_decoder(Bet)
    with database.read() as connection:
        for row in connection.execution_options(yield_per=ROWS_AT_ONCE).execute(newest):
            yield bet_from_row(row)
        for (text,) in connection.execution_options(yield_per=ROWS_AT_ONCE).execute(changes):
            bet = decoder.decode(text)
            if bet.status is not BetStatus.PENDING:
                yield bet


def _from_stream(
    lake: Lake,
    source: Source,
    losses: Sequence[LakeLoss],
    not_asked: list[str],
    wait: Callable[[float], None],
) -> int:
    """What the stream still holds of the losses' spans, up to where the lake has read: the consumer brings
    what comes after.
    """
    added = 0
    try:
        for some in _batches(_records_of(source, lake.positions(EXCHANGE_BETS), losses, wait)):
            executions = [record for record in some if isinstance(record, Execution)]
            added += add_missing(
                lake.connection, executions, [record for record in some if isinstance(record, BetUpdate)]
            )
    except (SourceUnavailable, ShardsChanged) as error:
        not_asked.append(f"the stream: {error}")
    return added


def _records_of(
    source: Source, held: dict[str, str | None], losses: Sequence[LakeLoss], wait: Callable[[float], None]
) -> Iterator[Record]:
    for shard in source.shards():
        upto = held.get(shard.name)
        if upto is None:
            continue
        source.seek(shard.name, None)
        silent = 0
        while silent < _SILENT_READS:
            try:
                read = source.read(shard.name)
            except Throttled as throttled:
                silent += 1
                wait(throttled.retry_after_s)
                continue
            silent = 0 if read.records else silent + 1
            for one in read.records:
                if source.is_after(one.position, upto):
                    silent = _SILENT_READS
                    break
                record = _decoded(one.data)
                if record is not None and any(_is_of(record, loss) for loss in losses):
                    yield record
            if read.ended or (not read.records and not read.behind_ms):
                break
            wait(_READ_PAUSE_S)


def _decoded(data: bytes) -> Record | None:
    try:
        return decode(data)
    except UndecodableRecord:
        return None  # it is a dead letter, and never was in the lake


def _is_of(record: Record, loss: LakeLoss) -> bool:
    if isinstance(record, Execution):
        table, at = "executions", record.executed_at
    else:
        table, at = "bet_history", record.updated_at
    if loss.table != table:
        return False
    return loss.since is None or loss.until is None or loss.since <= at <= loss.until


def _set_asides(data_dir: Path) -> list[Path]:
    """Lakes that were set aside with their catalogs, and are not in the new one yet."""
    return [aside for aside in sorted(data_dir.glob(f"{SET_ASIDE}*")) if not (aside / _IMPORTED).exists()]


def _import(asides: Iterable[Path], lake: Lake, say: Say) -> tuple[int, list[str]]:
    """Add the rows of every readable file of these lakes: how many were added, and the files that can't be
    read.
    """
    added = 0
    unreadable: list[str] = []
    for aside in asides:
        for table in _OF_STREAM:
            files = sorted(aside.glob(f"data/*/{table}/*.parquet"))
            say(f"Adding the {table} of {len(files)} files from {aside} ...")
            for file in files:
                with lake.connection.scratch() as scratch:
                    reason = _reason(scratch, str(file))
                if reason is None:
                    added += add_missing_from_file(lake.connection, table, str(file))
                else:
                    unreadable.append(f"{file}: {reason}")
    return added, unreadable


def _reason(scratch: duckdb.DuckDBPyConnection, path: str) -> str | None:
    try:
        return inner_damage(scratch, path, None)
    except FileUnreadable as error:
        return str(error)


def _mark_imported(asides: Iterable[Path]) -> None:
    for aside in asides:
        (aside / _IMPORTED).touch()


def _batches(rows: Iterable[T]) -> Iterator[list[T]]:
    batch: list[T] = []
    for row in rows:
        batch.append(row)
        if len(batch) >= ROWS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
