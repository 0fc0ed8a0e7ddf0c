"""Mails, and the outbox as a log that each channel reads from its own position."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _text(length: int) -> sa.String:
    ascii_text = mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=length)
    return sa.String(length=length).with_variant(ascii_text, "mysql", "mariadb")


def _long_text() -> sa.Text:
    return sa.Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4"), "mysql", "mariadb")


def _row_id() -> sa.BigInteger:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "outbox_sequences",
        sa.Column("outbox", _text(64), nullable=False),
        sa.Column("newest", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("outbox", name=op.f("pk_outbox_sequences")),
        comment="The newest row's sequence, locked from its writing to the commit: so sequences are visible in their order.",
    )
    op.rename_table("notification_outbox", "notification_outbox_before")
    op.create_table(
        "notification_outbox",
        sa.Column(
            "sequence", _row_id(), autoincrement=False, nullable=False, comment="in the order of the commits"
        ),
        sa.Column("bet_id", _text(64), nullable=False),
        sa.Column("bet_version", sa.BigInteger(), nullable=False),
        sa.Column("user_id", _text(64), nullable=False),
        sa.Column(
            "change",
            sa.String(length=16),
            nullable=False,
            comment="accepted, matched, cancelled, lapsed, voided, ...",
        ),
        sa.Column("status_before", sa.String(length=16), nullable=True),
        sa.Column("status_after", sa.String(length=16), nullable=False),
        sa.Column("bet", _long_text(), nullable=False, comment="JSON: the bet at that version"),
        sa.Column("changed_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_notification_outbox")),
        sa.UniqueConstraint("bet_id", "bet_version", name=op.f("uq_notification_outbox_bet_id_bet_version")),
        comment="One row for each change of a bet that its owner is told of; written in the bet's own transaction.",
    )
    op.execute(
        "INSERT INTO notification_outbox (sequence, bet_id, bet_version, user_id, `change`, status_before, status_after,"
        " bet, changed_at_us)"
        " SELECT ROW_NUMBER() OVER (ORDER BY changed_at_us, bet_id, bet_version), bet_id, bet_version, user_id, `change`,"
        " status_before, status_after, bet, changed_at_us FROM notification_outbox_before"
    )
    op.execute(
        "INSERT INTO outbox_sequences (outbox, newest)"
        " SELECT 'notifications', COUNT(*) FROM notification_outbox_before"
    )
    op.drop_table("notification_outbox_before")
    op.create_table(
        "mails",
        sa.Column("sequence", _row_id(), autoincrement=True, nullable=False),
        sa.Column(
            "mail_id",
            _text(128),
            nullable=False,
            comment="what it is, for ever; its Message-ID is made of it",
        ),
        sa.Column("source", _text(64), nullable=False, comment="whose run sends it: notifications"),
        sa.Column(
            "kind", sa.String(length=32), nullable=False, comment="matched, digest, ...: how it is rendered"
        ),
        sa.Column("account_id", _text(64), nullable=False),
        sa.Column(
            "thread", _text(128), nullable=False, comment="mails of a thread (a bet's) leave in their order"
        ),
        sa.Column("state", sa.String(length=16), nullable=False, comment="waiting, sent, skipped, dead"),
        sa.Column(
            "due_at_us", sa.BigInteger(), nullable=False, comment="not before: back-off, quiet time, digest"
        ),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column(
            "changed_at_us",
            sa.BigInteger(),
            nullable=False,
            comment="when the first thing that it tells happened",
        ),
        sa.Column("queued_at_us", sa.BigInteger(), nullable=False),
        sa.Column(
            "ended_at_us", sa.BigInteger(), nullable=True, comment="when it was sent, skipped or given up"
        ),
        sa.Column(
            "reason",
            _long_text(),
            nullable=True,
            comment="why it was skipped, is dead, or has to be tried again",
        ),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_mails")),
        sa.UniqueConstraint("mail_id", name=op.f("uq_mails_mail_id")),
        comment="Every mail of bets to an account: what waits, what was sent, what failed for good.",
    )
    op.create_index(op.f("ix_mails_source_state_due_at_us"), "mails", ["source", "state", "due_at_us"])
    op.create_index(op.f("ix_mails_state_thread"), "mails", ["state", "thread"])
    op.create_index(op.f("ix_mails_account_id"), "mails", ["account_id"])
    op.create_table(
        "mail_changes",
        sa.Column("outbox_sequence", _row_id(), autoincrement=False, nullable=False),
        sa.Column("mail_id", _text(128), nullable=False),
        sa.PrimaryKeyConstraint("outbox_sequence", name=op.f("pk_mail_changes")),
        comment="Which changes of the outbox each mail tells; a change is told by one mail at the most.",
    )
    op.create_index(op.f("ix_mail_changes_mail_id"), "mail_changes", ["mail_id"])
    op.create_table(
        "mail_counts",
        sa.Column("source", _text(64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False, comment="sent, skipped, dead"),
        sa.Column("mails", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "state", name=op.f("pk_mail_counts")),
        comment="How many mails of a source have ended so: counting them would take longer with every mail.",
    )
