"""Applications' tokens, the log of security events, and who did what.

The columns are new and may be null, so the release before goes on writing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_WHO = (
    ("ledger", "application", "who asked for what this enters; null: the exchange, or an older release"),
    ("wallet_transfers", "application", "who asked for it; null: an older release"),
    ("submissions", "application", "who asked for it; null: an older release"),
    ("order_outbox", "application", "who asked for it; null: an older release"),
    ("limit_changes", "application", "who asked for it; null: an older release"),
    ("accounts", "registered_by", "the application that registered it; null: an older release"),
)


def _name() -> sa.String:
    ascii_text = mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64)
    return sa.String(length=64).with_variant(ascii_text, "mysql", "mariadb")


def _detail() -> sa.String:
    text = mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=200)
    return sa.String(length=200).with_variant(text, "mysql", "mariadb")


def _long_text() -> sa.Text:
    return sa.Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4"), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("token_id", _name(), nullable=False, comment="names the token; no secret"),
        sa.Column("application", _name(), nullable=False),
        sa.Column(
            "sha256",
            sa.LargeBinary(length=32).with_variant(mysql.VARBINARY(32), "mysql", "mariadb"),
            nullable=False,
            comment="of the token, which is nowhere at rest",
        ),
        sa.Column(
            "scopes", _name(), nullable=False, comment="read, bet, money, operate: separated by spaces"
        ),
        sa.Column("all_accounts", sa.Boolean(), nullable=False),
        sa.Column(
            "account_ids",
            _long_text(),
            nullable=False,
            comment="JSON: the accounts besides those that the application registered",
        ),
        sa.Column("made_at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at_us", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at_us", sa.BigInteger(), nullable=True, comment="to the minute"),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("sha256", name=op.f("uq_api_tokens_sha256")),
        comment="The tokens that applications show to the API, and what each may do.",
    )
    op.create_index(op.f("ix_api_tokens_application"), "api_tokens", ["application"])
    op.create_table(
        "security_events",
        sa.Column(
            "event_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("application", _name(), nullable=True),
        sa.Column("token_id", _name(), nullable=True),
        sa.Column("account_id", _name(), nullable=True),
        sa.Column("client", _name(), nullable=True, comment="the network address that it came from"),
        sa.Column("detail", _detail(), nullable=False),
        sa.Column("occurrences", sa.BigInteger(), nullable=False, comment="how often since the row before"),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_security_events")),
        comment="Who was let in or refused, who moved money, changed limits, closed accounts, made and revoked tokens. Rows are only added, and purged.",
    )
    op.create_index(op.f("ix_security_events_at_us"), "security_events", ["at_us"])
    for table, column, comment in _WHO:
        op.add_column(table, sa.Column(column, _name(), nullable=True, comment=comment))


def downgrade() -> None:
    for table, column, _ in reversed(_WHO):
        op.drop_column(table, column)
    op.drop_table("security_events")
    op.drop_table("api_tokens")
