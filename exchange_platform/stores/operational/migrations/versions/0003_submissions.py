"""Submissions, orders, the wallet, and the house's side of the ledger"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "house_balances",
        sa.Column("account", sa.String(length=16), nullable=False, comment="cash, clearing, commission"),
        sa.Column(
            "market_id",
            sa.String(length=64)
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mariadb")
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql"),
            nullable=False,
            comment="empty for cash",
        ),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "market_id", "currency", name=op.f("pk_house_balances")),
        comment="The exchange's side of every change of a customer's balance: with those balances, the sum is 0.",
    )
    op.create_table(
        "limit_changes",
        sa.Column(
            "change_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "account_id",
            sa.String(length=64)
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mariadb")
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "kind",
            sa.String(length=16),
            nullable=False,
            comment="deposit_24h, deposit_7d, deposit_30d, stake, break",
        ),
        sa.Column(
            "value",
            sa.BigInteger(),
            nullable=True,
            comment="minor units; a break's end in microseconds; null: no limit",
        ),
        sa.Column("requested_at_us", sa.BigInteger(), nullable=False),
        sa.Column("effective_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("change_id", name=op.f("pk_limit_changes")),
        comment="Every change of a limit that an account set for itself, and from when it holds.",
    )
    with op.batch_alter_table("limit_changes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_limit_changes_account_id"), ["account_id"], unique=False)

    op.create_table(
        "order_outbox",
        sa.Column(
            "sequence",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "order_id",
            sa.String(length=64)
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mariadb")
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "bet_id",
            sa.String(length=64)
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mariadb")
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "market_id",
            sa.String(length=64)
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mariadb")
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "data",
            sa.LargeBinary()
            .with_variant(mysql.LONGBLOB(), "mariadb")
            .with_variant(mysql.LONGBLOB(), "mysql"),
            nullable=False,
            comment="the record of bet-orders",
        ),
        sa.Column("ordered_at_us", sa.BigInteger(), nullable=False),
        sa.Column("published_at_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_order_outbox")),
        sa.UniqueConstraint("order_id", name=op.f("uq_order_outbox_order_id")),
        comment="Orders to the exchange, each written in its reservation's transaction and published after it.",
    )
    with op.batch_alter_table("order_outbox", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_order_outbox_bet_id"), ["bet_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_order_outbox_published_at_us_sequence"),
            ["published_at_us", "sequence"],
            unique=False,
        )

    op.create_table(
        "pending_bets",
        sa.Column(
            "bet_id",
            sa.String(length=64)
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mariadb")
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "user_id",
            sa.String(length=64)
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mariadb")
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "market_id",
            sa.String(length=64)
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mariadb")
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql"),
            nullable=False,
        ),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bet_id", name=op.f("pk_pending_bets")),
        comment="The bets that are PENDING: a row from the transaction that makes one so to the one that ends it.",
    )
    with op.batch_alter_table("pending_bets", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pending_bets_since_us"), ["since_us"], unique=False)

    op.create_table(
        "profile_view_due",
        sa.Column(
            "user_id",
            sa.String(length=64)
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mariadb")
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "cause",
            sa.String(length=64)
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mariadb")
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql"),
            nullable=False,
            comment="the newest transfer or bet that changed the profile",
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_profile_view_due")),
        comment="Profiles that changed other than by the stream and that the profile view has not taken yet.",
    )
    op.create_table(
        "replacements",
        sa.Column(
            "new_bet_id",
            sa.String(length=64)
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mariadb")
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "bet_id",
            sa.String(length=64)
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mariadb")
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql"),
            nullable=False,
            comment="the bet that it is to replace",
        ),
        sa.Column(
            "user_id",
            sa.String(length=64)
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mariadb")
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "cancelled_minor", sa.BigInteger(), nullable=False, comment="of the old bet, when it was asked"
        ),
        sa.Column("credit_wins_minor", sa.BigInteger(), nullable=False),
        sa.Column("credit_loses_minor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("new_bet_id", name=op.f("pk_replacements")),
        comment="Replacements that the exchange has not answered. The credit, in the user's position, keeps both bets from counting twice.",
    )
    with op.batch_alter_table("replacements", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_replacements_user_id"), ["user_id"], unique=False)

    op.create_table(
        "submissions",
        sa.Column(
            "account_id",
            sa.String(length=64)
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mariadb")
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "submission_id",
            sa.String(length=64)
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mariadb")
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql"),
            nullable=False,
            comment="the caller's, unique per account for ever",
        ),
        sa.Column(
            "content_sha256", sa.LargeBinary(length=32), nullable=False, comment="of what was asked for"
        ),
        sa.Column(
            "bet_id",
            sa.String(length=64)
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mariadb")
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "answer",
            sa.Text()
            .with_variant(mysql.MEDIUMTEXT(charset="utf8mb4"), "mariadb")
            .with_variant(mysql.MEDIUMTEXT(charset="utf8mb4"), "mysql"),
            nullable=False,
            comment="JSON: what was answered first",
        ),
        sa.Column("submitted_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "submission_id", name=op.f("pk_submissions")),
        comment="What was submitted under each id; the same id again gets the same answer.",
    )
    op.create_table(
        "wallet_transfers",
        sa.Column(
            "transfer_id",
            sa.String(length=64)
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mariadb")
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "account_id",
            sa.String(length=64)
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mariadb")
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "request_id",
            sa.String(length=64)
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mariadb")
            .with_variant(mysql.VARCHAR(charset="ascii", collation="ascii_bin", length=64), "mysql"),
            nullable=False,
            comment="the caller's, unique per account for ever",
        ),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="deposit, withdrawal"),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column(
            "authorised_by", sa.String(length=100), nullable=False, comment="who let the money in or out"
        ),
        sa.Column("balance_minor", sa.BigInteger(), nullable=False, comment="the balance after it"),
        sa.Column("transferred_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("transfer_id", name=op.f("pk_wallet_transfers")),
        sa.UniqueConstraint(
            "account_id", "request_id", name=op.f("uq_wallet_transfers_account_id_request_id")
        ),
        comment="Money that came in and went out; each is a ledger entry too.",
    )
    with op.batch_alter_table("wallet_transfers", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_wallet_transfers_account_id_transferred_at_us"),
            ["account_id", "transferred_at_us"],
            unique=False,
        )

    # Both databases rename in place; the ledger may be large.
    op.execute("ALTER TABLE ledger RENAME COLUMN bet_id TO reference")
    op.execute("ALTER TABLE ledger RENAME COLUMN bet_version TO reference_version")
    for name in ("deposited_minor", "withdrawn_minor"):
        op.add_column("profiles", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))

    # The house's side of what customers have won, lost and paid so far, and the bets that are pending.
    for account, condition in (("clearing", "cause <> 'commission'"), ("commission", "cause = 'commission'")):
        op.execute(
            "INSERT INTO house_balances (account, market_id, currency, amount_minor)"
            f" SELECT '{account}', market_id, currency, -SUM(amount_minor) FROM ledger"
            f" WHERE account = 'balance' AND {condition} GROUP BY market_id, currency"
        )
    op.execute(
        "INSERT INTO pending_bets (bet_id, user_id, market_id, since_us)"
        " SELECT bet_id, user_id, market_id, placed_at_us FROM bets WHERE status = 'PENDING'"
    )
