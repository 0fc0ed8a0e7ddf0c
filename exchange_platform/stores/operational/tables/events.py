"""The operational database's tables of events, markets and selections. Not here: what is written to them
(events/events.py).
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from exchange_platform.stores.operational.database import LongText, Name, metadata


def _words(length: int) -> sa.types.TypeEngine[str]:
    """Text in any script, whatever the database's own character set."""
    return sa.String(length).with_variant(mysql.VARCHAR(length, charset="utf8mb4"), "mysql", "mariadb")


events = sa.Table(
    "events",
    metadata,
    sa.Column("event_id", Name, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("name", _words(200), nullable=False),
    sa.Column("sport", _words(60), nullable=False),
    sa.Column("competition", _words(200), nullable=False, server_default=""),
    sa.Column("country", _words(2), nullable=False, server_default=""),
    sa.Column("status", sa.String(16), nullable=False, comment="SCHEDULED, IN_PLAY, FINISHED, ABANDONED"),
    sa.Column("phase", _words(60), nullable=False, server_default=""),
    sa.Column("participants", LongText, nullable=False, comment="JSON: names"),
    sa.Column("scores", LongText, nullable=False, comment="JSON: name, value, detail of each side"),
    sa.Column("starts_at_us", sa.BigInteger, nullable=True),
    sa.Column("updated_at_us", sa.BigInteger, nullable=False, comment="the update's own time"),
    sa.Column("changed_at_us", sa.BigInteger, nullable=False, comment="when it was applied here"),
    sa.Column(
        "index_version",
        sa.BigInteger,
        nullable=False,
        comment="grows with every change of the event or one of its markets: the version of its document in the event index",
    ),
    sa.Index(None, "status", "starts_at_us"),
    sa.Index(None, "index_version"),
    comment="Each event at its newest version.",
)

markets = sa.Table(
    "markets",
    metadata,
    sa.Column("market_id", Name, primary_key=True),
    sa.Column("event_id", Name, nullable=False, index=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("name", _words(200), nullable=False, server_default=""),
    sa.Column("market_type", _words(60), nullable=False, server_default=""),
    sa.Column("status", sa.String(16), nullable=False, comment="INACTIVE, OPEN, SUSPENDED, CLOSED"),
    sa.Column("in_play", sa.Boolean, nullable=False),
    sa.Column("bet_delay_s", sa.Float, nullable=False),
    sa.Column("number_of_winners", sa.Integer, nullable=False),
    sa.Column("number_of_selections", sa.Integer, nullable=False, comment="those not removed"),
    sa.Column("commission_rate", sa.String(16), nullable=False, comment="decimal text, 0 to 1"),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("traded_minor", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("starts_at_us", sa.BigInteger, nullable=True),
    sa.Column("settled_at_us", sa.BigInteger, nullable=True),
    sa.Column("updated_at_us", sa.BigInteger, nullable=False),
    sa.Column("changed_at_us", sa.BigInteger, nullable=False),
    sa.Index(None, "status"),
    comment="Each market at its newest version. One that is not OPEN takes no bets.",
)

selections = sa.Table(
    "selections",
    metadata,
    sa.Column("market_id", Name, primary_key=True),
    sa.Column("selection_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("handicap", sa.String(16), primary_key=True),
    sa.Column("place", sa.Integer, nullable=False, comment="order in its market"),
    sa.Column("name", _words(200), nullable=False, server_default=""),
    sa.Column("status", sa.String(16), nullable=False, comment="ACTIVE, WINNER, PLACED, LOSER, REMOVED"),
    comment="The selections of each market at its newest version.",
)
