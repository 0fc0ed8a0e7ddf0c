"""The lake's tables, and bringing a lake to them. Not here: what is written to them (lake.py, windows.py)."""

from __future__ import annotations

import duckdb

from exchange_platform.stores.lake.windows import LIVE

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
    # A window's stake is as wide as a sum can be: no single absurd stake may stop a window from being closed.
    """
    CREATE TABLE IF NOT EXISTS odds_windows (
        market_id VARCHAR NOT NULL, selection_id BIGINT NOT NULL, handicap DECIMAL(7, 2) NOT NULL,
        window_start TIMESTAMPTZ NOT NULL, executions BIGINT NOT NULL, average_odds DOUBLE NOT NULL,
        vwap DOUBLE NOT NULL, min_odds DECIMAL(9, 3) NOT NULL, max_odds DECIMAL(9, 3) NOT NULL,
        open_odds DECIMAL(9, 3) NOT NULL, close_odds DECIMAL(9, 3) NOT NULL, stake DECIMAL(38, 3) NOT NULL,
        final BOOLEAN NOT NULL, revision BIGINT NOT NULL)
    """,
    "CREATE TABLE IF NOT EXISTS open_windows (market_id VARCHAR NOT NULL, window_start TIMESTAMPTZ NOT NULL)",
    """
    CREATE TABLE IF NOT EXISTS checkpoints (
        source VARCHAR NOT NULL, shard VARCHAR NOT NULL, epoch BIGINT NOT NULL, position VARCHAR)
    """,
)

CHANGED_IN_PLACE = ("open_windows", "checkpoints")
"""Small tables whose rows come and go: they live in the catalog itself, where a change writes no file."""

_INLINED_ROWS = 1000
_LARGEST_FILE = "8MB"
_LARGEST_FILE_WITHOUT_LOCK = "128MB"


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Create what is missing, in the caller's transaction. Idempotent."""
    for statement in _TABLES:
        connection.execute(statement)
    # DuckDB keeps a view as it understood it; so the wanted one is compared in that form, to leave an equal
    # one alone.
    connection.execute(f"CREATE OR REPLACE TEMP VIEW odds_windows_live AS {LIVE}")
    views = connection.execute(
        "SELECT sql FROM duckdb_views() WHERE view_name = 'odds_windows_live'"
    ).fetchall()
    if len({sql.partition(" AS ")[2] for (sql,) in views}) != 1 or len(views) != 2:
        connection.execute(f"CREATE OR REPLACE VIEW lake.odds_windows_live AS {LIVE}")
    connection.execute("DROP VIEW temp.odds_windows_live")


def configure(connection: duckdb.DuckDBPyConnection, *, locks: bool) -> None:
    """Say how the tables are kept. Outside a transaction; idempotent.

    Where maintenance `locks` writers out while it writes a file, files are small: writing one takes a
    fraction of a second.
    """
    largest = _LARGEST_FILE if locks else _LARGEST_FILE_WITHOUT_LOCK
    connection.execute(f"CALL ducklake_set_option('lake', 'target_file_size', '{largest}')")
    for table in CHANGED_IN_PLACE:
        connection.execute(
            "CALL ducklake_set_option('lake', 'data_inlining_row_limit', ?, table_name => ?)",
            [_INLINED_ROWS, table],
        )
