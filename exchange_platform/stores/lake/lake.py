"""The lake: executions, bet history and odds windows as DuckLake tables, for analysts. Not here: the tables
(tables.py), the windows' SQL (windows.py), checkpoints (checkpoints.py), the connection and its lock
(connection.py).

Every commit is one DuckLake transaction that asserts the consumer's epoch and position
(stores/checkpoints.py) and writes data, checkpoint and the list of windows to close together.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import duckdb

from exchange_platform.domain.bets import Bet
from exchange_platform.domain.records import Execution
from exchange_platform.settings import Settings
from exchange_platform.stores.checkpoints import Advance, StoreUnavailable
from exchange_platform.stores.lake import bets as lake_bets
from exchange_platform.stores.lake import losses as lake_losses
from exchange_platform.stores.lake import maintenance as lake_maintenance
from exchange_platform.stores.lake import recompute as lake_recompute
from exchange_platform.stores.lake import tables as lake_tables
from exchange_platform.stores.lake import windows as lake_windows
from exchange_platform.stores.lake.adding import add_bets, known_keys
from exchange_platform.stores.lake.bets import BetState, BetSums
from exchange_platform.stores.lake.checkpoints import LakeCheckpoints
from exchange_platform.stores.lake.connection import LakeConnection, may_pass
from exchange_platform.stores.lake.fence import QueryError as QueryError
from exchange_platform.stores.lake.fence import checked
from exchange_platform.stores.lake.files import LakeDamaged
from exchange_platform.stores.lake.query_limits import QueryLimits
from exchange_platform.stores.lake.rows import executions_batch, windows_touched
from exchange_platform.stores.lake.s3 import S3Access
from exchange_platform.stores.lake.windows import ClosedDay, Recomputed

if TYPE_CHECKING:
    import pyarrow as pa  # 70 MB, and only `query` hands one out

log = logging.getLogger(__name__)
MAX_TAKEN_OUT = 10
"""As many damaged files at once are taken out unasked: more are a disk's or a bucket's fault."""
_MERGE_EVERY = 64
"""Commits with data between two merges of the small files that they leave."""


@dataclass(frozen=True, slots=True)
class LakeCommit:
    """What a commit added, and what the lake had already."""

    executions: int
    bet_versions: int
    repeats: int


@dataclass(frozen=True, slots=True)
class LakeCounts:
    """How much the lake holds."""

    executions: int
    bet_versions: int
    closed_windows: int
    open_windows: int


class Lake:
    """The lake, through one DuckDB connection: for one thread at a time. Nothing is opened before the first
    call.

    Every method raises `StoreUnavailable` where the catalog or the files can't be reached, or another process
    has written for too long; call it again later. Where a file is damaged it is a `LakeDamaged` that names
    it. One that may write then takes a few such files out (losses.py), so that the next call goes on without
    their rows.
    """

    def __init__(
        self,
        catalog: str,
        data_path: str,
        *,
        read_catalog: str | None = None,
        read_only: bool = False,
        threads: int = 2,
        memory_mb: int | None = None,
        s3: S3Access | None = None,
        shared: bool = False,
        query_limits: QueryLimits | None = None,
    ) -> None:
        self._connection = LakeConnection(
            catalog, data_path, read_only=read_only, threads=threads, memory_mb=memory_mb, s3=s3
        )
        self._query_limits = query_limits or QueryLimits()
        self._queries = LakeConnection(
            read_catalog or catalog,
            data_path,
            read_only=True,
            threads=threads,
            memory_mb=memory_mb or self._query_limits.memory_mb,
            s3=s3,
            fenced=True,
            spill_mb=self._query_limits.spill_mb,
        )
        self._checkpoints = LakeCheckpoints(self._connection)
        self._shared = shared
        self._open: set[tuple[str, datetime]] | None = None
        self._unmerged = 0

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        *,
        read_only: bool = False,
        memory_mb: int | None = None,
        shared: bool = False,
    ) -> Lake:
        """The lake that the settings name. `memory_mb` bounds what DuckDB holds; more than that it spills to
        disk.

        `shared`: other consumers close windows too, so which are open is asked again before executions are
        added.
        """
        return cls(
            settings.lake_read_catalog_string if read_only else settings.lake_catalog_string,
            settings.lake_data_location,
            read_catalog=settings.lake_read_catalog_string,
            read_only=read_only,
            memory_mb=memory_mb,
            s3=S3Access(settings.aws_region, settings.aws_endpoint_url),
            shared=shared,
            query_limits=QueryLimits(
                settings.lake_query_max_s, settings.lake_query_memory_mb, settings.lake_query_spill_mb
            ),
        )

    @property
    def connection(self) -> LakeConnection:
        """The connection, to look at files and restore what they held (inspection.py, restoring.py)."""
        return self._connection

    def migrate(self) -> None:
        """Create what is missing. Idempotent; several processes may call it at once."""
        with self._connection.write() as connection:
            lake_tables.create(connection)
        with self._connection.write() as connection:
            lake_losses.prepare(connection)  # whoever works with them later may make no table
        with self._connection.alone() as connection:
            lake_tables.configure(connection, locks=self._connection.is_sqlite)

    def claim(self, source: str, epoch: int, shards: Sequence[str]) -> dict[str, str | None]:
        """Make the shards this epoch's alone to advance; returns up to where the lake holds them.

        Raises `Superseded`, and claims none, if a newer epoch holds one of them.
        """
        self._open = None
        with self._without_damage(), self._connection.write():
            return self._checkpoints.claim(source, epoch, shards)

    def set_back(self, source: str, shard: str) -> bool:
        """Let the shard be read from its beginning, what it has as repeats; says whether it is known."""
        with self._connection.write():
            return self._checkpoints.set_back(source, shard)

    def commit(
        self,
        source: str,
        epoch: int,
        advances: Sequence[Advance],
        executions: Sequence[Execution],
        bets: Sequence[Bet],
    ) -> LakeCommit:
        """Add executions and bet versions that the lake does not have, and advance the checkpoints, in one
        transaction.

        An execution that it has (by id; a repeat has the same time) or that stands twice in the batch is
        dropped, the first one counts; so is a bet version. A commit that was done already (its answer was
        lost) changes nothing. Raises `Superseded`; nothing was written then.
        """
        opened: set[tuple[str, datetime]] = set()
        new_executions = new_bets = 0
        try:
            with self._without_damage(), self._connection.write() as connection:
                if self._checkpoints.advance(source, epoch, advances):
                    if executions:
                        new_executions, opened = self._add_executions(connection, executions)
                    if bets:
                        new_bets = add_bets(connection, bets)
                    if advances and not new_executions and not new_bets:
                        self._checkpoints.fold(source, epoch, advances)
        except StoreUnavailable:
            self._open = None  # whether it was written is not known
            raise
        if self._open is not None:
            self._open |= opened
        if new_executions or new_bets:
            self._merge_at_times()
        return LakeCommit(new_executions, new_bets, len(executions) + len(bets) - new_executions - new_bets)

    def close_windows(
        self,
        source: str,
        epoch: int,
        passed: Mapping[str, datetime | None],
        shards: Collection[str] | None = None,
    ) -> list[ClosedDay]:
        """Close the open windows of these markets that end by the instant given (None: all), computing each
        once.

        A new window's row has `revision` 1; one that late executions changed has one more than before; one
        that is what it was stays. Raises `Superseded` if a newer epoch holds any of these of the source's
        shards (None: of all).
        """
        due = [window for window in self.open_windows() if lake_windows.has_passed(window, passed)]
        if not due:
            return []
        try:
            with self._without_damage(), self._connection.write() as connection:
                self._checkpoints.check_not_superseded(source, epoch, shards)
                days = lake_windows.close(connection, due)
        except StoreUnavailable:
            self._open = None
            raise
        if self._open is not None:
            self._open -= set(due)
        return days

    def recompute(self, day: date) -> Recomputed:
        """Compute a day's (UTC) closed windows again from its executions. Idempotent: a row that is what it
        was keeps its revision.

        Windows that are open are left to whoever closes them. It takes several short transactions
        (recompute.py), so what it raises in between leaves some windows corrected; calling it again corrects
        the others.
        """
        with self._without_damage():
            return lake_recompute.recompute(self._connection, day)

    def open_windows(self, *, refresh: bool = False) -> set[tuple[str, datetime]]:
        """(market, window start) of windows with executions that odds_windows does not tell of yet.

        Remembered between calls; `refresh` asks the lake, as other processes (a replay of dead letters) open
        windows too.
        """
        if self._open is None or refresh:
            rows = self._rows("SELECT DISTINCT market_id, window_start FROM open_windows")
            self._open = {(market_id, start.astimezone(UTC)) for market_id, start in rows}
        return self._open

    def open_market_times(self) -> dict[str, datetime]:
        """The newest execution's time of every market with an open window."""
        rows = self._rows(
            "SELECT e.market_id, max(e.executed_at) FROM executions e"
            " WHERE e.market_id IN (SELECT market_id FROM open_windows)"
            " AND e.executed_at >= (SELECT min(window_start) FROM open_windows) GROUP BY e.market_id"
        )
        return {market_id: newest.astimezone(UTC) for market_id, newest in rows}

    def counts(self) -> LakeCounts:
        """How much the lake holds, now."""
        ((executions, bet_versions, closed, opened),) = self._rows(
            "SELECT (SELECT count(*) FROM executions), (SELECT count(*) FROM bet_history),"
            " (SELECT count(*) FROM odds_windows), (SELECT count(*) FROM (SELECT DISTINCT * FROM open_windows))"
        )
        return LakeCounts(executions, bet_versions, closed, opened)

    def positions(self, source: str) -> dict[str, str | None]:
        """Up to where the lake holds each of the source's shards."""
        with self._connection.translated():
            return {shard: held.position for shard, held in self._checkpoints.read(source).items()}

    def disagreeing_windows(
        self, *, since: datetime | None = None, until: datetime | None = None, limit: int = 100
    ) -> list[tuple[Any, ...]]:
        """Closed windows (not open again) that are not what their executions give now: (market, selection,
        handicap, start).

        Of those that start in `[since, until)`, which must be windows' bounds.
        """
        return self._rows(lake_windows.disagreeing(since, until, limit))

    def hours(self) -> list[datetime]:
        """The hours (UTC) that have windows, open or closed, oldest first."""
        return [hour.astimezone(UTC) for (hour,) in self._rows(lake_windows.HOURS)]

    def bet_sums(self, since: datetime | None, until: datetime | None) -> dict[int, BetSums]:
        """By the second of placing (since 1970), sums of bets placed in that span (None: no bound)."""
        return {second: BetSums(*told) for second, *told in self._rows(lake_bets.sums(since, until))}

    def newest_bets(self, seconds: Collection[int]) -> dict[str, BetState]:
        """By bet, the newest version of every bet placed in one of these seconds (since 1970)."""
        rows = self._rows(lake_bets.newest(seconds)) if seconds else []
        return {bet: BetState(*told) for bet, *told in rows}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a statement of the library's own; a user's goes through `query`."""
        return self._rows(sql)

    def query(self, sql: str) -> pa.Table:
        """Run one reading statement; the lake's tables need no prefix, instants are UTC. Raises `QueryError`
        with what was wrong.

        It may read the lake's tables and nothing else (fence.py), on a connection of its own that sees what
        is committed, within its limits of time, memory and disk (query_limits.py).
        """
        with self._queries.translated():
            session = self._queries.session
        try:
            with self._query_limits.bounding(session):
                *before, last = checked(session, sql)
                for statement in before:
                    session.execute(statement)
                return self._query_limits.collected(session.execute(last))
        except duckdb.Error as error:
            damage = self._queries.damage_behind(error)
            if damage is not None:
                raise damage from None
            message = self._queries.without_password(str(error))
            if may_pass(error) and not isinstance(error, duckdb.IOException | duckdb.PermissionException):
                raise StoreUnavailable(f"lake: {message}") from None
            raise QueryError(message) from None

    def maintain(self, *, keep_snapshots: str = "1 hour") -> None:
        """Keep the lake small and fast: merge files, drop snapshots older than that and the files that only
        they needed.

        Each step takes the write lock for itself, so writers wait for one step at most, well under a second.
        A query that runs longer than `keep_snapshots` loses its files.
        """
        with self._without_damage():
            with self._connection.write():
                self._checkpoints.fold_all()
            lake_maintenance.tidy(self._connection, keep=keep_snapshots)

    def delete_orphans(self, *, before: datetime) -> int:
        """Delete what killed writers left before then; how many. Raises `KnownFiles` for one in use."""
        return lake_maintenance.delete_orphans(self._connection, before)

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()
        self._queries.close()

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._without_damage(), self._connection.translated():
            return self._connection.session.execute(sql, parameters or None).fetchall()

    @contextmanager
    def _without_damage(self) -> Iterator[None]:
        """Take damaged files that stopped a call out, if they are few; the call still fails."""
        try:
            yield
        except LakeDamaged as damage:
            if self._connection.read_only or not 0 < len(damage.files) <= MAX_TAKEN_OUT:
                raise
            for loss in lake_losses.take_out(self._connection, damage.files, datetime.now(UTC)):
                log.error(
                    "taken out of the lake: %s; `exchange-platform restore-lake` restores what it can",
                    loss.described,
                )
            raise

    def _add_executions(
        self, connection: duckdb.DuckDBPyConnection, executions: Sequence[Execution]
    ) -> tuple[int, set[tuple[str, datetime]]]:
        new: dict[str, Execution] = {}
        for execution in executions:
            new.setdefault(execution.execution_id, execution)
        batch = executions_batch(list(new.values()))
        times = [execution.executed_at for execution in new.values()]
        known = known_keys(connection, "executions", ("execution_id",), "executed_at", batch, times)
        if known:
            for (execution_id,) in known:
                del new[execution_id]
            if not new:
                return 0, set()
            batch = executions_batch(list(new.values()))
        connection.execute("INSERT INTO executions BY NAME SELECT * FROM batch")
        opened = windows_touched(new.values()) - self.open_windows(refresh=self._shared)
        if opened:
            connection.executemany(
                "INSERT INTO open_windows (market_id, window_start) VALUES (?, ?)", sorted(opened)
            )
        return len(new), opened

    def _merge_at_times(self) -> None:
        self._unmerged += 1
        if self._unmerged < _MERGE_EVERY:
            return
        self._unmerged = 0
        try:
            with self._without_damage(), self._connection.alone() as connection:
                lake_maintenance.merge_small(connection)
        except (StoreUnavailable, duckdb.OutOfMemoryException) as error:
            # The commit itself is done, and the next merge will find these files too.
            log.warning("small files of the lake stay unmerged for now: %s", error)
