"""The operational database's tables of submissions, orders and transfers. Not here: what is written to them (submissions.py, wallets.py)."""

from __future__ import annotations

import sqlalchemy as sa

from exchange_platform.stores.database import Bytes, LongText, Name, RowId, metadata

submissions = sa.Table(
    "submissions",
    metadata,
    sa.Column("account_id", Name, primary_key=True),
    sa.Column("submission_id", Name, primary_key=True, comment="the caller's, unique per account for ever"),
    sa.Column("content_sha256", sa.LargeBinary(32), nullable=False, comment="of what was asked for"),
    sa.Column("bet_id", Name, nullable=False),
    sa.Column("answer", LongText, nullable=False, comment="JSON: what was answered first"),
    sa.Column("submitted_at_us", sa.BigInteger, nullable=False),
    comment="What was submitted under each id; the same id again gets the same answer.",
)

order_outbox = sa.Table(
    "order_outbox",
    metadata,
    sa.Column("sequence", RowId, primary_key=True, autoincrement=True),
    sa.Column("order_id", Name, nullable=False),
    sa.Column("bet_id", Name, nullable=False, index=True),
    sa.Column("market_id", Name, nullable=False),
    sa.Column("data", Bytes, nullable=False, comment="the record of bet-orders"),
    sa.Column("ordered_at_us", sa.BigInteger, nullable=False),
    sa.Column("published_at_us", sa.BigInteger, nullable=True),
    sa.UniqueConstraint("order_id"),
    sa.Index(None, "published_at_us", "sequence"),
    comment="Orders to the exchange, each written in its reservation's transaction and published after it.",
)
