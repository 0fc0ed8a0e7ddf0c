"""Bets by the instant of placing: what is compared with the lake is taken in its order"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_bets_placed_at_us"), "bets", ["placed_at_us"])


def downgrade() -> None:
    op.drop_index(op.f("ix_bets_placed_at_us"), table_name="bets")
