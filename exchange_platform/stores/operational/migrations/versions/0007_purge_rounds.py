"""The newest round of each purge."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "purge_rounds",
        sa.Column(
            "purge",
            sa.String(length=64).with_variant(
                mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql", "mariadb"
            ),
            nullable=False,
        ),
        sa.Column("begun_at_us", sa.BigInteger(), nullable=False, comment="when the newest round began"),
        sa.Column("finished_at_us", sa.BigInteger(), nullable=True, comment="when a round last finished"),
        sa.Column("deleted", sa.BigInteger(), nullable=False, comment="by that round"),
        sa.Column("left_over", sa.BigInteger(), nullable=False, comment="what it left that should be gone"),
        sa.Column(
            "behind_us",
            sa.BigInteger(),
            nullable=False,
            comment="for how long the oldest of that is overdue",
        ),
        sa.Column(
            "last_error",
            sa.Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4"), "mysql", "mariadb"),
            nullable=True,
            comment="why the newest round failed",
        ),
        sa.PrimaryKeyConstraint("purge", name=op.f("pk_purge_rounds")),
        comment="The newest round of each purge.",
    )
