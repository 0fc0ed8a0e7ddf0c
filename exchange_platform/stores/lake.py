"""The lake: executions, bet history and odds windows as DuckLake tables, for analysts. Not here: the windows' SQL (lake_windows.py).

Every commit is one DuckLake transaction that asserts the consumer's epoch and position (stores/checkpoints.py) and writes data,
checkpoint and the list of windows to close together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pyarrow as pa

from exchange_platform.bets import Bet
from exchange_platform.records import Execution
from exchange_platform.settings import Settings
from exchange_platform.stores import lake_windows
from exchange_platform.stores.checkpoints import Advance, Superseded
from exchange_platform.stores.lake_connection import LakeConnection
from exchange_platform.stores.lake_rows import bets_table, executions_table
from exchange_platform.stores.lake_windows import ClosedDay, Recomputed

_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS executions (
        execution_id VARCHAR NOT NULL, event_id VARCHAR NOT NULL, market_id VARCHAR NOT NULL,
        selection_id BIGINT NOT NULL, handicap DECIMAL(7, 2) NOT NULL, odds DECIMAL(9, 3) NOT NULL,
        stake DECIMAL(18, 3) NOT NULL, executed_at TIMESTAMPTZ NOT NULL, back_bet_id VARCHAR, lay_bet_id VARCHAR)
    """,
    """
    CREATE TABLE IF NOT EXISTS bet_history (
        bet_id VARCHAR NOT NULL, version BIGINT NOT NULL, user_id VARCHAR NOT NULL, event_id VARCHAR NOT NULL,
        market_id VARCHAR NOT NULL, selection_id BIGINT NOT NULL, handicap DECIMAL(7, 2) NOT NULL,
        side VARCHAR NOT NULL, odds DECIMAL(9, 3) NOT NULL, currency VARCHAR NOT NULL,
        stake_minor BIGINT NOT NULL, matched_minor BIGINT NOT NULL, remaining_minor BIGINT NOT NULL,
        lapsed_minor BIGINT NOT NULL, cancelled_minor BIGINT NOT NULL, voided_minor BIGINT NOT NULL,
        matched_winnings_minor BIGINT NOT NULL, status VARCHAR NOT NULL, result VARCHAR,
        profit_minor BIGINT NOT NULL, commission_minor BIGINT NOT NULL, reason VARCHAR,
        number_of_winners BIGINT NOT NULL, number_of_selections BIGINT NOT NULL,
        placed_at TIMESTAMPTZ NOT NULL, updated_at TIMESTAMPTZ NOT NULL)
    """,
    """
    CREATE TABLE IF NOT EXISTS odds_windows (
        market_id VARCHAR NOT NULL, selection_id BIGINT NOT NULL, handicap DECIMAL(7, 2) NOT NULL,
        window_start TIMESTAMPTZ NOT NULL, executions BIGINT NOT NULL, average_odds DOUBLE NOT NULL,
        vwap DOUBLE NOT NULL, min_odds DECIMAL(9, 3) NOT NULL, max_odds DECIMAL(9, 3) NOT NULL,
        open_odds DECIMAL(9, 3) NOT NULL, close_odds DECIMAL(9, 3) NOT NULL, stake DECIMAL(18, 3) NOT NULL,
        final BOOLEAN NOT NULL, revision BIGINT NOT NULL)
    """,
    "CREATE TABLE IF NOT EXISTS open_windows (market_id VARCHAR NOT NULL, window_start TIMESTAMPTZ NOT NULL)",
    """
    CREATE TABLE IF NOT EXISTS checkpoints (
        source VARCHAR NOT NULL, shard VARCHAR NOT NULL, epoch BIGINT NOT NULL, position VARCHAR)
    """,
)


class QueryError(ValueError):
    """A query that the lake refuses. The message is for whoever wrote it."""


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
    """The lake, through one DuckDB connection: for one thread at a time. Nothing is opened before the first call."""

    def __init__(self, catalog: str, data_path: str, *, read_only: bool = False, threads: int = 2) -> None:
        self._connection = LakeConnection(catalog, data_path, read_only=read_only, threads=threads)
        self._open: set[tuple[str, datetime]] | None = None

    @classmethod
    def from_settings(cls, settings: Settings, *, read_only: bool = False) -> Lake:
        """The lake that the settings name."""
        return cls(settings.lake_catalog_string, settings.lake_data_location, read_only=read_only)

    def migrate(self) -> None:
        """Create what is missing. Idempotent. Raises `StoreUnavailable`, as every method here."""
        with self._connection.write() as connection:
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute(f"CREATE OR REPLACE VIEW odds_windows_live AS {lake_windows.LIVE}")

    def claim(self, source: str, epoch: int, shards: Sequence[str]) -> dict[str, str | None]:
        """Make the shards this epoch's alone to advance; returns up to where the lake holds them.

        Raises `Superseded`, and claims none, if a newer epoch holds one of them.
        """
        self._open = None
        with self._connection.write() as connection:
            held = self._held(connection, source)
            for shard in shards:
                if shard in held and held[shard][0] > epoch:
                    raise Superseded(
                        f"lake: {source} {shard}: epoch {held[shard][0]} holds it, this is {epoch}"
                    )
            for shard in shards:
                if shard not in held:
                    connection.execute(
                        "INSERT INTO checkpoints VALUES (?, ?, ?, NULL)", [source, shard, epoch]
                    )
                elif held[shard][0] < epoch:
                    connection.execute(
                        "UPDATE checkpoints SET epoch = ? WHERE source = ? AND shard = ?",
                        [epoch, source, shard],
                    )
        return {shard: held[shard][1] if shard in held else None for shard in shards}

    def commit(
        self,
        source: str,
        epoch: int,
        advances: Sequence[Advance],
        executions: Sequence[Execution],
        bets: Sequence[Bet],
    ) -> LakeCommit:
        """Add executions and bet versions that the lake does not have, and advance the checkpoints, in one transaction.

        An execution that it has (by id; a repeat has the same time) or that stands twice in the batch is dropped, the first one counts; so
        is a bet version. Raises `Superseded`; nothing was written then.
        """
        with self._connection.write() as connection:
            self._advance(connection, source, epoch, advances)
            opened: set[tuple[str, datetime]] = set()
            new_executions = new_bets = 0
            if executions:
                new_executions, opened = self._add_executions(connection, executions)
            if bets:
                new_bets = self._add_bets(connection, bets)
        if opened and self._open is not None:
            self._open |= opened
        return LakeCommit(new_executions, new_bets, len(executions) + len(bets) - new_executions - new_bets)

    def close_windows(
        self, source: str, epoch: int, passed: Mapping[str, datetime | None]
    ) -> list[ClosedDay]:
        """Close the open windows of these markets that end by the instant given (None: all), computing each once.

        A new window's row has `revision` 1; one that late executions changed has one more than before; one that is what it was
        stays. Raises `Superseded` if a newer epoch holds any of the source's shards.
        """
        due = [window for window in self.open_windows() if lake_windows.has_passed(window, passed)]
        if not due:
            return []
        with self._connection.write() as connection:
            newest = max((held for held, _ in self._held(connection, source).values()), default=epoch)
            if newest > epoch:
                raise Superseded(f"lake: {source}: epoch {newest} holds it, this is {epoch}")
            days = lake_windows.close(connection, due)
        if self._open is not None:
            self._open -= set(due)
        return days

    def recompute(self, day: date) -> Recomputed:
        """Compute a day's (UTC) closed windows anew from its executions. Idempotent: a row that is what it was keeps its revision."""
        with self._connection.write() as connection:
            return lake_windows.recompute(connection, day)

    def open_windows(self, *, anew: bool = False) -> set[tuple[str, datetime]]:
        """(market, window start) of windows with executions that odds_windows does not tell of yet.

        Remembered between calls; `anew` asks the lake, as other processes (a replay of dead letters) open windows too.
        """
        if self._open is None or anew:
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
        rows = self._rows("SELECT shard, position FROM checkpoints WHERE source = ?", [source])
        return dict(rows)

    def disagreeing_windows(
        self, *, since: datetime | None = None, limit: int = 100
    ) -> list[tuple[Any, ...]]:
        """Closed windows (not open again) that are not what their executions give now: (market, selection, handicap, start)."""
        return self._rows(lake_windows.disagreeing(since, limit))

    def bets_placed_before(self, instant: datetime) -> int:
        """How many bets the lake knows that were placed before then."""
        ((bets,),) = self._rows(
            "SELECT count(DISTINCT bet_id) FROM bet_history WHERE placed_at < ?", [instant]
        )
        return int(bets)

    def newest_bet_versions(self, bet_ids: Sequence[str]) -> dict[str, int]:
        """The newest version that the lake holds of each of these bets."""
        rows = self._rows(
            "SELECT bet_id, max(version) FROM bet_history WHERE bet_id IN (SELECT unnest(?)) GROUP BY bet_id",
            [list(bet_ids)],
        )
        return {bet_id: int(version) for bet_id, version in rows}

    def query(self, sql: str) -> pa.Table:
        """Run one reading statement; the lake's tables need no prefix. Raises `QueryError` with what was wrong."""
        try:
            with self._connection.translated():
                statements = self._connection.session.extract_statements(sql)
                if len(statements) != 1:
                    raise QueryError(f"one statement is allowed, this is {len(statements)}")
                return self._connection.session.execute(statements[0]).to_arrow_table()
        except duckdb.Error as error:
            raise QueryError(str(error)) from error

    def maintain(self, *, keep_snapshots: str = "1 hour") -> None:
        """Keep the lake small and fast: inlined rows go to Parquet, small files are merged, old snapshots and files dropped.

        Each step takes the write lock for itself, so writers wait for one step at the most.
        """
        for statement in (
            "CALL ducklake_flush_inlined_data('lake')",
            "CALL ducklake_merge_adjacent_files('lake')",
            f"CALL ducklake_expire_snapshots('lake', older_than => now() - INTERVAL '{keep_snapshots}')",
            f"CALL ducklake_cleanup_old_files('lake', older_than => now() - INTERVAL '{keep_snapshots}')",
        ):
            with self._connection.alone() as connection:
                connection.execute(statement)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._connection.translated():
            return self._connection.session.execute(sql, parameters or None).fetchall()

    @staticmethod
    def _held(connection: duckdb.DuckDBPyConnection, source: str) -> dict[str, tuple[int, str | None]]:
        rows = connection.execute(
            "SELECT shard, epoch, position FROM checkpoints WHERE source = ?", [source]
        ).fetchall()
        return {shard: (epoch, position) for shard, epoch, position in rows}

    def _advance(
        self, connection: duckdb.DuckDBPyConnection, source: str, epoch: int, advances: Sequence[Advance]
    ) -> None:
        held = self._held(connection, source)
        for step in advances:
            if held.get(step.shard) != (epoch, step.expected):
                raise Superseded(
                    f"lake: {source} {step.shard}: epoch {epoch} at {step.expected} is no longer what it holds:"
                    f" {held.get(step.shard)}"
                )
            if step.position != step.expected:
                connection.execute(
                    "UPDATE checkpoints SET position = ? WHERE source = ? AND shard = ?",
                    [step.position, source, step.shard],
                )

    def _add_executions(
        self, connection: duckdb.DuckDBPyConnection, executions: Sequence[Execution]
    ) -> tuple[int, set[tuple[str, datetime]]]:
        known = self._known(connection, "executions", "execution_id", "executed_at", executions)
        new: dict[str, Execution] = {}
        for execution in executions:
            if execution.execution_id not in known:
                new.setdefault(execution.execution_id, execution)
        if not new:
            return 0, set()
        batch = executions_table(list(new.values()))  # noqa: F841 (DuckDB reads it by name)
        connection.execute("INSERT INTO executions SELECT * FROM batch")
        touched = {(row.market_id, lake_windows.window_start(row.executed_at)) for row in new.values()}
        opened = touched - self.open_windows()
        if opened:
            connection.executemany("INSERT INTO open_windows VALUES (?, ?)", sorted(opened))
        return len(new), opened

    def _add_bets(self, connection: duckdb.DuckDBPyConnection, bets: Sequence[Bet]) -> int:
        known = self._known(connection, "bet_history", "(bet_id, version)", "updated_at", bets)
        new: dict[tuple[str, int], Bet] = {}
        for bet in bets:
            if (bet.bet_id, bet.version) not in known:
                new.setdefault((bet.bet_id, bet.version), bet)
        if new:
            batch = bets_table(list(new.values()))  # noqa: F841 (DuckDB reads it by name)
            connection.execute("INSERT INTO bet_history SELECT * FROM batch")
        return len(new)

    @staticmethod
    def _known(
        connection: duckdb.DuckDBPyConnection, table: str, key: str, time: str, rows: Sequence[Any]
    ) -> set[Any]:
        """The keys that the table has among rows of the batch's span of time: a repeat has the same time."""
        times = [getattr(row, time) for row in rows]
        markets = sorted({row.market_id for row in rows})
        found = connection.execute(
            f"SELECT {key} FROM {table} WHERE {time} BETWEEN ? AND ? AND market_id IN (SELECT unnest(?))",
            [min(times), max(times), markets],
        ).fetchall()
        return {row[0] for row in found}
