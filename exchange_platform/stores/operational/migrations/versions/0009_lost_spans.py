"""Spans of a source that were gone before they were read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def _text(length: int) -> sa.String:
    ascii_text = mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=length)
    return sa.String(length=length).with_variant(ascii_text, "mysql", "mariadb")


def _long_text() -> sa.Text:
    return sa.Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4"), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "lost_spans",
        sa.Column(
            "span_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("source", _text(64), nullable=False),
        sa.Column("shard", _text(128), nullable=False),
        sa.Column("after_position", _text(128), nullable=False, comment="empty: the shard's beginning"),
        sa.Column(
            "before_position", _text(128), nullable=False, comment="empty: not known, or the shard's end"
        ),
        sa.Column(
            "from_us", sa.BigInteger(), nullable=True, comment="everything that arrived earlier was read"
        ),
        sa.Column("until_us", sa.BigInteger(), nullable=True, comment="what arrived from here on is held"),
        sa.Column("records", sa.BigInteger(), nullable=True, comment="how many, where that is known"),
        sa.Column("reason", _long_text(), nullable=False),
        sa.Column("noticed_at_us", sa.BigInteger(), nullable=False),
        sa.Column("acknowledged_at_us", sa.BigInteger(), nullable=True),
        sa.Column("note", _long_text(), nullable=True, comment="what was done about it"),
        sa.PrimaryKeyConstraint("span_id", name=op.f("pk_lost_spans")),
        sa.UniqueConstraint(
            "source", "shard", "after_position", name=op.f("uq_lost_spans_source_shard_after_position")
        ),
        comment="Records of a source that could not be read any more, or may have been there; until somebody takes note a check fails.",
    )


def downgrade() -> None:
    op.drop_table("lost_spans")
