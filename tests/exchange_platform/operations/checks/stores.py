"""An operational database and a lake that hold the same workload, at the same position, as a consumer would
leave them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from exchange_platform.domain.bets import Bet
from exchange_platform.domain.records import Execution, Record
from exchange_platform.stores.checkpoints import Advance
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.bets.bets import apply_bet_updates
from exchange_platform.stores.operational.consumers.consumers import Checkpoints
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.sinks.operational import OPERATIONAL_DATABASE
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from tests.support.prepared import copy_file, copy_lake, prepare_database, prepare_lake

SHARD = "shardId-000000000000@1"
EPOCH = 1
DATABASE_FILE = "operational.sqlite"
LAKE_FOLDER = "lake"


@dataclass
class Stores:
    """The two stores. Records go to one, the other or both; each keeps its own position."""

    directory: Path
    database: Database
    lake: Lake
    position: str | None = None
    lake_position: str | None = None

    def to_database(self, records: Sequence[Record]) -> None:
        """As the operational database's sink does."""
        step = Advance(SHARD, self.position, str(int(self.position or 0) + len(records)))
        with self.database.write() as connection:
            Checkpoints(self.database, OPERATIONAL_DATABASE).advance(
                connection, EXCHANGE_BETS, EPOCH, [step], now_us=0
            )
            apply_bet_updates(connection, [record for record in records if isinstance(record, Bet)])
        self.position = step.position

    def to_lake(self, records: Sequence[Record], *, lost: Sequence[str] = ()) -> None:
        """As the lake's sink does; all versions of the bets in `lost` get lost on the way."""
        step = Advance(SHARD, self.lake_position, str(int(self.lake_position or 0) + len(records)))
        self.lake.commit(
            EXCHANGE_BETS,
            EPOCH,
            [step],
            [record for record in records if isinstance(record, Execution)],
            [record for record in records if isinstance(record, Bet) and record.bet_id not in lost],
        )
        self.lake_position = step.position

    def to_both(self, records: Sequence[Record]) -> None:
        """As a consumer does."""
        self.to_database(records)
        self.to_lake(records)

    def sql(self, statement: str, **values: Any) -> None:
        """Change the operational database behind everybody's back."""
        with self.database.write() as connection:
            connection.execute(sa.text(statement), values)

    def close(self) -> None:
        """Close both; they open again when they are used."""
        self.lake.close()
        self.database.dispose()

    def copy(self, directory: Path) -> Stores:
        """The same in another directory. These must be closed."""
        copied = replace(self, directory=directory, database=_database(directory), lake=_lake(directory))
        copy_file(self.directory / DATABASE_FILE, directory / DATABASE_FILE)
        if (self.directory / LAKE_FOLDER).exists():
            copy_lake(self.directory / LAKE_FOLDER, directory / LAKE_FOLDER)
        return copied


def make_stores(directory: Path, *, with_lake: bool = True) -> Stores:
    """Empty stores in that directory, claimed; without a lake it is not there yet."""
    stores = Stores(directory, _database(directory), _lake(directory))
    prepare_database(stores.database)
    Checkpoints(stores.database, OPERATIONAL_DATABASE).claim(EXCHANGE_BETS, EPOCH, [SHARD], now_us=0)
    if with_lake:
        prepare_lake(directory / LAKE_FOLDER)
        stores.lake.claim(EXCHANGE_BETS, EPOCH, [SHARD])
    return stores


def opened_stores(directory: Path) -> Stores:
    """What another process left in that directory, at its positions."""
    stores = Stores(directory, _database(directory), _lake(directory))
    stores.position = Checkpoints(stores.database, OPERATIONAL_DATABASE).positions(EXCHANGE_BETS)[SHARD]
    stores.lake_position = stores.lake.positions(EXCHANGE_BETS)[SHARD]
    return stores


def _database(directory: Path) -> Database:
    return Database(f"sqlite:///{directory / DATABASE_FILE}")


def _lake(directory: Path) -> Lake:
    folder = directory / LAKE_FOLDER
    return Lake(f"sqlite:{folder / 'catalog.sqlite'}", str(folder / "data"))
