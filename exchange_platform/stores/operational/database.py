"""The operational database: its tables and how to connect. Not here: what is written to them (bets/bets.py
and neighbours).

One schema for SQLite and MySQL. Instants are integers, microseconds since 1970 UTC (`_us`); money is integers
in minor units (`_minor`); odds and handicaps are decimal text, exact on both. Migrations live in
exchange_platform/stores/operational/migrations/.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from exchange_platform.process.database_tls import why_no_authorities
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.reactions import translated
from exchange_platform.stores.operational.write_turns import WriteTurns

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only for INTEGER keys.
RowId = sa.BigInteger().with_variant(sa.Integer, "sqlite")
# Identifiers compare byte by byte on both databases; MySQL's default collation ignores case.
Name = sa.String(64).with_variant(
    mysql.VARCHAR(64, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
Position = sa.String(128).with_variant(
    mysql.VARCHAR(128, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
Bytes = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
LongText = sa.Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4"), "mysql", "mariadb")


def _minor(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


source_epochs = sa.Table(
    "source_epochs",
    metadata,
    sa.Column("source", Name, primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    comment="The newest consumer's epoch, a source.",
)

consumers = sa.Table(
    "consumers",
    metadata,
    sa.Column("source", Name, primary_key=True),
    sa.Column("epoch", sa.BigInteger, primary_key=True),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, comment="running, ended, superseded, failed"),
    sa.Column("started_at_us", sa.BigInteger, nullable=False),
    sa.Column("ends_at_us", sa.BigInteger, nullable=False),
    sa.Column("heartbeat_at_us", sa.BigInteger, nullable=False),
    sa.Column("at_tip", sa.Boolean, nullable=False),
    sa.Column(
        "caught_up_at_us",
        sa.BigInteger,
        nullable=True,
        comment="begin of the newest read that found the tip with every record before it committed by every sink",
    ),
    sa.Column("records", sa.BigInteger, nullable=False),
    sa.Column("rate", sa.Float, nullable=False, comment="records a second, lately"),
    sa.Column("lag_ms", sa.Float, nullable=False),
    sa.Column("statistics", LongText, nullable=False, comment="JSON: shards, sinks, windows"),
    sa.Column("host", sa.String(128), nullable=True, comment="whose processes know it: process_life.py"),
    sa.Column("pid", sa.BigInteger, nullable=True),
    sa.Column(
        "process_start_ticks",
        sa.BigInteger,
        nullable=True,
        comment="since the machine's boot: a pid alone is used again",
    ),
    sa.Column("requested_at_us", sa.BigInteger, nullable=True, comment="when its run was asked for"),
    comment="Each consumer's heartbeat and what it says of itself; for supervision, never for correctness.",
)

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("sink", Name, primary_key=True),
    sa.Column("source", Name, primary_key=True),
    sa.Column("shard", Position, primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("position", Position, nullable=True),
    sa.Column("updated_at_us", sa.BigInteger, nullable=False),
    comment="Up to where a sink holds a source's records, and who may write it.",
)

dead_letters = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("dead_letter_id", RowId, primary_key=True, autoincrement=True),
    sa.Column("source", Name, nullable=False),
    sa.Column("shard", Position, nullable=False),
    sa.Column("position", Position, nullable=False),
    sa.Column("part", sa.Integer, nullable=False, comment="place inside an aggregated record, else 0"),
    sa.Column("stage", sa.String(32), nullable=False, comment="decode, or the sink that refused it"),
    sa.Column("reason", LongText, nullable=False),
    sa.Column("data", Bytes, nullable=False),
    sa.Column("partition_key", sa.String(256), nullable=False, server_default=""),
    sa.Column("arrived_at_us", sa.BigInteger, nullable=False),
    sa.Column("dead_at_us", sa.BigInteger, nullable=False),
    sa.Column("replayed_at_us", sa.BigInteger, nullable=True),
    sa.UniqueConstraint("source", "shard", "position", "part"),
    sa.Index(None, "replayed_at_us"),
)

bets = sa.Table(
    "bets",
    metadata,
    sa.Column("bet_id", Name, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("user_id", Name, nullable=False),
    sa.Column("event_id", Name, nullable=False),
    sa.Column("market_id", Name, nullable=False),
    sa.Column("selection_id", sa.BigInteger, nullable=False),
    sa.Column("handicap", sa.String(16), nullable=False),
    sa.Column("side", sa.String(4), nullable=False),
    sa.Column("odds", sa.String(16), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("stake_minor", sa.BigInteger, nullable=False),
    _minor("matched_minor"),
    _minor("remaining_minor"),
    _minor("lapsed_minor"),
    _minor("cancelled_minor"),
    _minor("voided_minor"),
    _minor("matched_winnings_minor"),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("result", sa.String(8), nullable=True),
    _minor("profit_minor"),
    _minor("commission_minor"),
    sa.Column("reason", sa.String(200), nullable=True),
    sa.Column("number_of_winners", sa.Integer, nullable=False),
    sa.Column("number_of_selections", sa.Integer, nullable=False),
    sa.Column("placed_at_us", sa.BigInteger, nullable=False),
    sa.Column("updated_at_us", sa.BigInteger, nullable=False),
    sa.Index(None, "user_id", "placed_at_us"),
    sa.Index(None, "placed_at_us"),
)

positions = sa.Table(
    "positions",
    metadata,
    sa.Column("user_id", Name, primary_key=True),
    sa.Column("market_id", Name, primary_key=True),
    sa.Column("selection_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("handicap", sa.String(16), primary_key=True),
    sa.Column("currency", sa.String(3), nullable=False),
    _minor("if_wins_minor"),
    _minor("if_loses_minor"),
    comment="What a user wins or loses on a selection: the sum of that user's live bets' positions.",
)

market_exposures = sa.Table(
    "market_exposures",
    metadata,
    sa.Column("user_id", Name, primary_key=True),
    sa.Column("market_id", Name, primary_key=True),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("number_of_winners", sa.Integer, nullable=False),
    sa.Column("number_of_selections", sa.Integer, nullable=False),
    _minor("exposure_minor"),
    comment="The most that a user can lose in a market; a row while the user has a position there.",
)

profiles = sa.Table(
    "profiles",
    metadata,
    sa.Column("user_id", Name, primary_key=True),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False, comment="one more for each bet update or transfer"),
    _minor("balance_minor"),
    _minor("exposure_minor"),
    _minor("profit_minor"),
    _minor("commission_minor"),
    _minor("deposited_minor"),
    _minor("withdrawn_minor"),
    _count("bets"),
    _count("open_bets"),
    _count("matched_bets"),
    _count("settled_bets"),
    _count("won_bets"),
    _count("lost_bets"),
    _minor("staked_minor"),
    _minor("matched_minor"),
    sa.Column("last_bet_at_us", sa.BigInteger, nullable=True),
    sa.Column("updated_at_us", sa.BigInteger, nullable=False),
)

ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("reference", Name, primary_key=True, comment="the bet or the transfer"),
    sa.Column(
        "reference_version",
        sa.BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="the bet's version; 0 for a transfer",
    ),
    sa.Column("account", sa.String(16), primary_key=True, comment="balance or exposure"),
    sa.Column(
        "cause", sa.String(32), primary_key=True, comment="placed, matched, settled, commission, deposit, ..."
    ),
    sa.Column("user_id", Name, nullable=False),
    sa.Column("market_id", Name, nullable=False, comment="empty for a transfer"),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    sa.Column(
        "entered_at_us", sa.BigInteger, nullable=False, comment="the bet update's or the transfer's own time"
    ),
    sa.Column(
        "application",
        Name,
        nullable=True,
        comment="who asked for what this enters; null: the exchange, or an older release",
    ),
    sa.Index(None, "user_id", "account"),
    comment="Every change of a balance or an exposure, with what caused it. Profiles are its sums.",
)

outbox = sa.Table(
    "notification_outbox",
    metadata,
    sa.Column(
        "sequence", RowId, primary_key=True, autoincrement=False, comment="in the order of the commits"
    ),
    sa.Column("bet_id", Name, nullable=False),
    sa.Column("bet_version", sa.BigInteger, nullable=False),
    sa.Column("user_id", Name, nullable=False),
    sa.Column(
        "change", sa.String(16), nullable=False, comment="accepted, matched, cancelled, lapsed, voided, ..."
    ),
    sa.Column("status_before", sa.String(16), nullable=True),
    sa.Column("status_after", sa.String(16), nullable=False),
    sa.Column("bet", LongText, nullable=False, comment="JSON: the bet at that version"),
    sa.Column("changed_at_us", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("bet_id", "bet_version"),
    comment="One row for each change of a bet that its owner is notified of; written in the bet's own transaction.",
)

outbox_sequences = sa.Table(
    "outbox_sequences",
    metadata,
    sa.Column("outbox", Name, primary_key=True),
    sa.Column("newest", sa.BigInteger, nullable=False),
    comment="The newest row's sequence, locked from its writing to the commit: so sequences are visible in their order.",
)

restatements = sa.Table(
    "restatements",
    metadata,
    sa.Column("restatement_id", sa.String(96), primary_key=True),
    sa.Column("market_id", Name, nullable=False),
    sa.Column("selection_id", sa.BigInteger, nullable=False),
    sa.Column("handicap", sa.String(16), nullable=False),
    sa.Column("class", sa.String(32), nullable=False),
    sa.Column("volume_change", sa.String(32), nullable=False, comment="decimal text, both sides"),
    sa.Column("restated_at_us", sa.BigInteger, nullable=False),
    comment="Recorded volume that an exchange took back or re-rated; it yields no execution.",
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@lru_cache(maxsize=4096)
def to_us(instant: datetime) -> int:
    """Microseconds since 1970 UTC, exactly."""
    # Remembered, as each record's instants are asked for several times.
    return (instant - _EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> datetime:
    """The instant, in UTC, of so many microseconds since 1970 UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def refuse_without_authorities(engine: sa.Engine) -> None:
    """Let connecting raise `StoreUnavailable` where the certificates that are to verify the server's are not
    there: drivers raise anything then.
    """
    file = engine.url.query.get("ssl_ca")
    if not isinstance(file, str):
        return

    @sa.event.listens_for(engine, "do_connect")
    def _look(*_: Any) -> None:
        if why := why_no_authorities(file):
            raise StoreUnavailable(f"operational database: {why}")


class Database:
    """The operational database, and the two kinds of transaction on it.

    On SQLite a writing transaction takes the write lock at its start (`BEGIN IMMEDIATE`), so it waits for
    other writers instead of failing after it has read, and writers take turns (write_turns.py); readers never
    wait (WAL).
    """

    def __init__(self, url: str, *, durable: bool = False) -> None:
        """Prepare to connect; nothing is opened yet. With `durable`, SQLite syncs to disk at every commit."""
        parsed = sa.make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self._turns: WriteTurns | None = None
        if self.is_sqlite:
            if parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
                self._turns = WriteTurns(parsed.database)
            # IN lists of every length are statements of their own: 128 of them, SQLite's default, hold 15 MB
            # a connection.
            self.engine = sa.create_engine(
                url, connect_args={"timeout": 30, "cached_statements": 24}, pool_size=8
            )
            synchronous = "FULL" if durable else "NORMAL"

            @sa.event.listens_for(self.engine, "connect")
            def _configure(connection: Any, _record: Any) -> None:
                connection.isolation_level = None
                # Only of a file that is made now, and before anything is written to it: so it can shrink
                # (sqlite_space.py).
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(f"PRAGMA synchronous = {synchronous}")
                connection.execute("PRAGMA busy_timeout = 30000")
                connection.execute("PRAGMA cache_size = -4096")
                connection.execute("PRAGMA temp_store = MEMORY")

            @sa.event.listens_for(self.engine, "begin")
            def _begin(connection: sa.Connection) -> None:
                mode = connection.get_execution_options().get("begin", "DEFERRED")
                connection.exec_driver_sql(f"BEGIN {mode}")
        else:
            self.engine = sa.create_engine(
                url, pool_size=8, pool_pre_ping=True, pool_recycle=1800, isolation_level="READ COMMITTED"
            )
            refuse_without_authorities(self.engine)
        self._writer = self.engine.execution_options(begin="IMMEDIATE")

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that will write: committed at the end, rolled back on any error.

        Raises `StoreUnavailable` where the database can't be reached, is locked for too long, or chose this
        transaction to end a deadlock; nothing of it was written then.
        """
        turn = self._turns.turn() if self._turns is not None else nullcontext()
        with translated(), turn, self._writer.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads: one consistent snapshot. Raises `StoreUnavailable`, of it
        `CredentialsRefused`.
        """
        with translated(), self.engine.begin() as connection:
            yield connection

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()
