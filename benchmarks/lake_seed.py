"""A lake with a day of executions and bet versions in it, made in seconds: for the lake's benchmarks."""

from __future__ import annotations

from pathlib import Path

from exchange_platform.stores.lake import Lake
from exchange_platform.stores.lake.connection import LakeConnection

MARKETS = 50
_PIECE = 500_000


def lake_in(directory: Path, *, read_only: bool = False, threads: int = 2) -> Lake:
    """The lake of a directory."""
    return Lake(*_place(directory), read_only=read_only, threads=threads)


def seed(directory: Path, *, executions: int = 0, bets: int = 0, threads: int = 2) -> LakeConnection:
    """Make a lake whose executions (and as many bets) are spread over one day in 50 markets of 3 selections;
    returns its connection.

    Odds, stakes and selections are pseudo-random and the same every time; times have steps of 5 ms, so that
    some are equal.
    """
    lake = lake_in(directory)
    lake.migrate()
    lake.close()
    connection = LakeConnection(*_place(directory), threads=threads)
    for table, total, columns in (("executions", executions, _EXECUTION), ("bet_history", bets, _BET)):
        for begin in range(0, total, _PIECE):
            with connection.write() as session:
                session.execute(
                    f"INSERT INTO {table} SELECT {columns.format(total=total)}"
                    f" FROM range({begin}, {min(total, begin + _PIECE)}) numbers(i)"
                )
    return connection


def _place(directory: Path) -> tuple[str, str]:
    return f"sqlite:{directory / 'catalog.sqlite'}", str(directory / "data")


_AT = "TIMESTAMPTZ '2026-05-01 00:00:00+00' + to_microseconds((i * 86400000000 // {total}) // 5000 * 5000)"
_MARKET = f"printf('1.%06d', i % {MARKETS})"
_EXECUTION = f"""
    printf('1.%06d-%012d', i % {MARKETS}, i), 'e' || (i % {MARKETS}), {_MARKET}, (hash(i) % 3)::BIGINT + 1, 0,
    ((1500 + hash(i * 7) % 4000) / 1000.0)::DECIMAL(9, 3), (hash(i * 13) % 100000 + 1) / 100.0, {_AT}, NULL, NULL
"""
_BET = f"""
    printf('b%012d', i), 1, 'user-' || (hash(i * 5) % 1000), 'e' || (i % {MARKETS}), {_MARKET},
    (hash(i) % 3)::BIGINT + 1, 0, 'back', ((1500 + hash(i * 7) % 4000) / 1000.0)::DECIMAL(9, 3), 'GBP',
    hash(i * 3) % 10000 + 1, 0, hash(i * 3) % 10000 + 1, 0, 0, 0, 0, 'OPEN', NULL, 0, 0, NULL, 1, 3, {_AT}, {_AT}
"""
