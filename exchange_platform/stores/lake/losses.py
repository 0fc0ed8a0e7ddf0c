"""Damaged files taken out of the lake, and what became of their rows. Finding damage is files.py's, restoring
rows restoring.py's.

A file is taken out as DuckLake itself ends a file whose rows are all deleted: its catalog entry gets an end,
in a snapshot of its own. So other writers see a deletion, and readers a state without these rows. In the same
transaction a *loss* is written, a row of a table of the platform's own beside DuckLake's: what the file held,
and how many rows each market should have in its span. It stays until every row is back, or somebody accepts
that it is not.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import duckdb
import msgspec

from exchange_platform.process.decoders import json_decoder
from exchange_platform.stores.lake.connection import CATALOG, LakeConnection
from exchange_platform.stores.lake.files import OF_MARKETS, TIME_COLUMNS, DamagedFile, LakeFile
from exchange_platform.stores.lake.windows import literal

log = logging.getLogger(__name__)

_LOSSES = "exchange_platform_losses"
_SIGHTINGS = "exchange_platform_file_sightings"
_TABLES = (
    f"CREATE TABLE IF NOT EXISTS {CATALOG}.{_LOSSES} (loss_id BIGINT NOT NULL, state VARCHAR NOT NULL, loss VARCHAR NOT NULL)",
    f"CREATE TABLE IF NOT EXISTS {CATALOG}.{_SIGHTINGS} (file_id BIGINT NOT NULL, digest VARCHAR NOT NULL, markets VARCHAR,"
    " seen_at_us BIGINT NOT NULL)",
)


class LossState(StrEnum):
    """How far a loss has come."""

    OPEN = "open"
    """Rows are missing, and nobody has decided about them."""
    RESTORED = "restored"
    """Every row that was missing is back."""
    ACCEPTED = "accepted"
    """Somebody decided to go on without the rows that are missing."""


class LostFile(msgspec.Struct, frozen=True):
    """A file that was taken out: where it lies, and what a whole copy of it has."""

    path: str
    reason: str
    rows: int
    size: int
    digest: str | None
    """None where it was never found whole."""


class LakeLoss(msgspec.Struct, frozen=True):
    """Files of one table that were taken out together, because their rows overlap in time."""

    loss_id: int
    state: LossState
    table: str
    files: tuple[LostFile, ...]
    rows: int
    since: datetime | None
    until: datetime | None
    """The first and the last of the rows' times."""
    found_at: datetime
    expected: dict[str, int] | None
    """By market, the rows that the table should have in the span; None where the lost ones were never counted
    by market.
    """
    expected_rows: int
    """The rows that the table should have in the span."""
    missing: dict[str, int] = {}
    """By market, the rows that were missing when it was last counted."""
    missing_rows: int = 0
    """All of them, those of unknown markets too."""

    @property
    def span(self) -> str:
        """The span, for a message."""
        if self.since is None or self.until is None:
            return "at times unknown"
        return f"from {self.since:%Y-%m-%d %H:%M:%S} to {self.until:%Y-%m-%d %H:%M:%S} UTC"

    @property
    def described(self) -> str:
        """The loss in a sentence."""
        files = ", ".join(file.path.rpartition("/")[2] for file in self.files)
        return (
            f"{self.rows:,} rows of {self.table} {self.span} were in {files} ({self.files[0].reason});"
            f" {self.missing_rows:,} are missing"
        )


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a file held when it was last found whole."""

    digest: str
    markets: dict[str, int] | None
    seen_at_us: int


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables beside DuckLake's own, in the caller's transaction. Idempotent."""
    for statement in _TABLES:
        connection.execute(statement)


_stored_loss = json_decoder(LakeLoss)


def losses(lake: LakeConnection) -> list[LakeLoss]:
    """Every loss there was, oldest first."""
    if not _are_there(lake):
        return []
    rows = lake.catalog_rows(f"SELECT loss FROM {_LOSSES} ORDER BY loss_id")
    return [_stored_loss.decode(loss) for (loss,) in rows]


def sightings(lake: LakeConnection) -> dict[int, Sighting]:
    """By file, what it held when it was last found whole."""
    if not _are_there(lake):
        return {}
    rows = lake.catalog_rows(f"SELECT file_id, digest, markets, seen_at_us FROM {_SIGHTINGS}")
    return {
        int(file_id): Sighting(digest, msgspec.json.decode(markets) if markets else None, int(seen_at_us))
        for file_id, digest, markets, seen_at_us in rows
    }


def keep_sightings(lake: LakeConnection, seen: Mapping[int, Sighting], live: Iterable[int]) -> None:
    """Remember what was found whole, and forget the files that are no longer in use."""
    gone = sightings(lake).keys() - set(live)
    with lake.write() as connection:
        prepare(connection)
        for file_id in (*seen, *gone):
            connection.execute(f"DELETE FROM {CATALOG}.{_SIGHTINGS} WHERE file_id = ?", [file_id])
        for file_id, sighting in seen.items():
            markets = msgspec.json.encode(sighting.markets).decode() if sighting.markets is not None else None
            connection.execute(
                f"INSERT INTO {CATALOG}.{_SIGHTINGS} VALUES (?, ?, ?, ?)",
                [file_id, sighting.digest, markets, sighting.seen_at_us],
            )


def take_out(lake: LakeConnection, damaged: Sequence[DamagedFile], now: datetime) -> list[LakeLoss]:
    """Take these files out of the newest snapshot and write down what is lost, in one transaction; files that
    are out already are left.

    The file itself stays, in `damaged` beside the lake's data (on S3 where it is). Raises `StoreUnavailable`.
    """
    wanted = {one.file.data_file_id: one.reason for one in damaged}
    with lake.write() as connection:
        live = {file.data_file_id: file for file in lake.files() if file.file_id == file.data_file_id}
        known = sightings(lake)
        going = [
            DamagedFile(live.pop(file_id), reason) for file_id, reason in wanted.items() if file_id in live
        ]
        if not going:
            return []
        prepare(connection)
        snapshot = _begin_snapshot(connection, {one.file.table_id for one in going})
        for one in going:
            for table in ("ducklake_data_file", "ducklake_delete_file"):
                connection.execute(
                    f"UPDATE {CATALOG}.{table} SET end_snapshot = {snapshot}"
                    f" WHERE data_file_id = {one.file.data_file_id} AND end_snapshot IS NULL"
                )
        written = []
        with lake.scratch() as scratch:
            for number, group in enumerate(_overlapping(going)):
                loss = _loss(scratch, snapshot * 1000 + number, group, known, live.values(), now)
                written.append(loss)
                _write(connection, loss)
        for one in going:
            _set_aside(one.file)
    return written


def count(lake: LakeConnection, loss: LakeLoss) -> LakeLoss:
    """The loss with what is missing now; the table is counted in the loss's span. Writes nothing."""
    if (
        loss.table not in OF_MARKETS
        or loss.table == "odds_windows"
        or loss.since is None
        or loss.until is None
    ):
        return loss
    with lake.translated():
        present = dict(
            lake.session.execute(
                f"SELECT market_id, count(*) FROM {loss.table} WHERE {_within(loss.table, loss.since, loss.until)} GROUP BY ALL"
            ).fetchall()
        )
    missing = {}
    for market, expected in (loss.expected or {}).items():
        if present.get(market, 0) < expected:
            missing[market] = expected - present.get(market, 0)
    rows = (
        sum(missing.values())
        if loss.expected is not None
        else max(0, loss.expected_rows - sum(present.values()))
    )
    return msgspec.structs.replace(loss, missing=missing, missing_rows=rows)


def decide(lake: LakeConnection, loss: LakeLoss, state: LossState) -> LakeLoss:
    """Write down a loss's new state and counts."""
    decided = msgspec.structs.replace(loss, state=state)
    with lake.write() as connection:
        _write(connection, decided)
    return decided


def _loss(
    scratch: duckdb.DuckDBPyConnection,
    loss_id: int,
    group: Sequence[DamagedFile],
    known: Mapping[int, Sighting],
    live: Iterable[LakeFile],
    now: datetime,
) -> LakeLoss:
    table = group[0].file.table
    since, until = _span([one.file for one in group])
    rows = sum(one.file.rows for one in group)
    present: dict[str, int] = {}
    if table in OF_MARKETS and since is not None and until is not None:
        beside = [file for file in live if file.table == table and _overlap(_span([file]), (since, until))]
        present = _by_market(scratch, beside, _within(table, since, until))
    seen = [known.get(one.file.file_id) for one in group]
    counted = [sighting.markets for sighting in seen if sighting is not None and sighting.markets is not None]
    lost: Counter[str] = Counter()
    for markets in counted:
        lost.update(markets)
    expected: dict[str, int] | None = None
    if len(counted) == len(group):
        expected = {market: number + present.get(market, 0) for market, number in lost.items()}
    return LakeLoss(
        loss_id,
        LossState.OPEN,
        table,
        tuple(
            LostFile(
                _kept_at(one.file),
                one.reason,
                one.file.rows,
                one.file.size,
                sighting.digest if sighting is not None else None,
            )
            for one, sighting in zip(group, seen, strict=True)
        ),
        rows,
        since,
        until,
        now,
        expected,
        rows + sum(present.values()),
        dict(lost) if expected is not None else {},
        rows,
    )


def _begin_snapshot(connection: duckdb.DuckDBPyConnection, tables: Iterable[int]) -> int:
    """Add the snapshot that deletes rows of these tables, as DuckLake does it; its number."""
    connection.execute(
        f"INSERT INTO {CATALOG}.ducklake_snapshot SELECT snapshot_id + 1, now(), schema_version, next_catalog_id, next_file_id"
        f" FROM {CATALOG}.ducklake_snapshot ORDER BY snapshot_id DESC LIMIT 1"
    )
    found = connection.execute(f"SELECT max(snapshot_id) FROM {CATALOG}.ducklake_snapshot").fetchone()
    snapshot = int(found[0]) if found else 0
    changes = ",".join(f"deleted_from_table:{table}" for table in sorted(tables))
    connection.execute(
        f"INSERT INTO {CATALOG}.ducklake_snapshot_changes (snapshot_id, changes_made, author, commit_message)"
        f" VALUES ({snapshot}, '{changes}', 'exchange-platform', 'damaged files taken out')"
    )
    return snapshot


def _write(connection: duckdb.DuckDBPyConnection, loss: LakeLoss) -> None:
    connection.execute(f"DELETE FROM {CATALOG}.{_LOSSES} WHERE loss_id = ?", [loss.loss_id])
    connection.execute(
        f"INSERT INTO {CATALOG}.{_LOSSES} VALUES (?, ?, ?)",
        [loss.loss_id, loss.state.value, msgspec.json.encode(loss).decode()],
    )


def _overlapping(going: Iterable[DamagedFile]) -> list[list[DamagedFile]]:
    """The files in groups of one table whose spans overlap: what is missing of them can only be counted
    together.
    """
    groups: list[list[DamagedFile]] = []
    ordered = sorted(
        going, key=lambda one: (one.file.table, one.file.since or datetime.min.replace(tzinfo=UTC))
    )
    for one in ordered:
        group = groups[-1] if groups else None
        if (
            group is not None
            and group[0].file.table == one.file.table
            and _overlap(_span([other.file for other in group]), _span([one.file]))
        ):
            group.append(one)
        else:
            groups.append([one])
    return groups


Bounds = tuple[datetime | None, datetime | None]


def _span(files: Sequence[LakeFile]) -> Bounds:
    since = [file.since for file in files if file.since is not None]
    until = [file.until for file in files if file.until is not None]
    return (min(since), max(until)) if since and until else (None, None)


def _overlap(one: Bounds, other: Bounds) -> bool:
    if one[0] is None or one[1] is None or other[0] is None or other[1] is None:
        return True
    return one[0] <= other[1] and other[0] <= one[1]


def _within(table: str, since: datetime, until: datetime) -> str:
    return f"{TIME_COLUMNS[table]} BETWEEN {literal(since)} AND {literal(until)}"


def _by_market(scratch: duckdb.DuckDBPyConnection, files: Sequence[LakeFile], where: str) -> dict[str, int]:
    """By market, the rows of these files; a delete file beside one is of no account in the tables that are
    counted.
    """
    if not files:
        return {}
    paths = ", ".join("'" + file.path.replace("'", "''") + "'" for file in files)
    return dict(
        scratch.execute(
            f"SELECT market_id, count(*) FROM read_parquet([{paths}]) WHERE {where} GROUP BY market_id"
        ).fetchall()
    )


def _kept_at(file: LakeFile) -> str:
    """Where the file lies once it is out: beside the data, so that no tidying deletes it. On S3 where
    it was.
    """
    if "://" in file.path:
        return file.path
    path = Path(file.path)
    return str(path.parents[3] / "damaged" / path.parent.name / path.name)


def _set_aside(file: LakeFile) -> None:
    """Move the file there, if there is anything to move. Again and again is the same."""
    path, kept = Path(file.path), Path(_kept_at(file))
    if path == kept or not path.exists():
        return
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        path.rename(kept)
    except OSError as error:
        log.warning("%s stays where it is, until tidying deletes it: %s", path, error)


def _are_there(lake: LakeConnection) -> bool:
    known = (
        "SELECT name FROM sqlite_master"
        if lake.is_sqlite
        else "SELECT table_name FROM information_schema.tables"
    )
    return bool(
        lake.catalog_rows(f"{known} WHERE {'name' if lake.is_sqlite else 'table_name'} = '{_LOSSES}'")
    )
