"""The operational database's tables of accounts. Not here: what is written to them (accounts.py)."""

from __future__ import annotations

import sqlalchemy as sa

from exchange_platform.stores.database import Name, metadata

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("account_id", Name, primary_key=True, comment="the user_id of the account's bets and profile"),
    sa.Column("email", sa.String(254), nullable=False, comment="as mail is sent to it"),
    sa.Column("email_key", sa.String(254), nullable=False, comment="what makes two addresses the same"),
    sa.Column("display_name", sa.String(100), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, comment="PENDING, CONFIRMED, UNDELIVERABLE, CLOSED"),
    sa.Column("state_reason", sa.String(200), nullable=True),
    sa.Column("mail_choice", sa.String(16), nullable=False, comment="all, settlements, digest"),
    sa.Column("created_at_us", sa.BigInteger, nullable=False),
    sa.Column("confirmed_at_us", sa.BigInteger, nullable=True),
    sa.Column("changed_at_us", sa.BigInteger, nullable=False),
    sa.Index(None, "email_key"),
    comment="Who has registered. Several may have one address until one of them is confirmed.",
)
