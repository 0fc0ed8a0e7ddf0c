"""Where a consumer's process runs, and when its run was asked for: a live process is not taken for dead."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("host", sa.String(length=128), nullable=True),
        sa.Column("pid", sa.BigInteger(), nullable=True),
        sa.Column("process_start_ticks", sa.BigInteger(), nullable=True),
        sa.Column("requested_at_us", sa.BigInteger(), nullable=True),
    ):
        op.add_column("consumers", column)


def downgrade() -> None:
    for name in ("requested_at_us", "process_start_ticks", "pid", "host"):
        op.drop_column("consumers", name)
