"""The operational database's tables of mails. Not here: what is written to them (mails/mails.py), or the
outbox of changes (database.py).
"""

from __future__ import annotations

import sqlalchemy as sa

from exchange_platform.stores.operational.database import LongText, Name, Position, RowId, metadata

mails = sa.Table(
    "mails",
    metadata,
    sa.Column("sequence", RowId, primary_key=True, autoincrement=True),
    sa.Column(
        "mail_id", Position, nullable=False, comment="what it is, for ever; its Message-ID is made of it"
    ),
    sa.Column("source", Name, nullable=False, comment="whose run sends it: notifications"),
    sa.Column("kind", sa.String(32), nullable=False, comment="matched, digest, ...: how it is rendered"),
    sa.Column("account_id", Name, nullable=False),
    sa.Column("thread", Position, nullable=False, comment="mails of a thread (a bet's) leave in their order"),
    sa.Column("state", sa.String(16), nullable=False, comment="waiting, sent, skipped, dead"),
    sa.Column("due_at_us", sa.BigInteger, nullable=False, comment="not before: back-off, quiet time, digest"),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column(
        "changed_at_us", sa.BigInteger, nullable=False, comment="when the first thing that it tells happened"
    ),
    sa.Column("queued_at_us", sa.BigInteger, nullable=False),
    sa.Column("ended_at_us", sa.BigInteger, nullable=True, comment="when it was sent, skipped or given up"),
    sa.Column(
        "reason", LongText, nullable=True, comment="why it was skipped, is dead, or has to be tried again"
    ),
    sa.UniqueConstraint("mail_id"),
    sa.Index(None, "source", "state", "due_at_us"),
    sa.Index(None, "state", "thread"),
    sa.Index(None, "account_id"),
    comment="Every mail of bets to an account: what waits, what was sent, what failed for good.",
)

mail_changes = sa.Table(
    "mail_changes",
    metadata,
    sa.Column(
        "outbox_sequence",
        sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("mail_id", Position, nullable=False, index=True),
    comment="Which changes of the outbox each mail reports; a change is reported by one mail at most.",
)

mail_counts = sa.Table(
    "mail_counts",
    metadata,
    sa.Column("source", Name, primary_key=True),
    sa.Column("state", sa.String(16), primary_key=True, comment="sent, skipped, dead"),
    sa.Column("mails", sa.BigInteger, nullable=False),
    comment="How many mails of a source have ended so: counting them would take longer with every mail.",
)
