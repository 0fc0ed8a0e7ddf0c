"""The operational database's tables of submissions, orders, transfers and limits. Not here: what is written
to them (submissions.py, wallets/wallets.py).
"""

from __future__ import annotations

import sqlalchemy as sa

from exchange_platform.stores.operational.database import Bytes, LongText, Name, RowId, metadata

submissions = sa.Table(
    "submissions",
    metadata,
    sa.Column("account_id", Name, primary_key=True),
    sa.Column("submission_id", Name, primary_key=True, comment="the caller's, unique per account for ever"),
    sa.Column("content_sha256", sa.LargeBinary(32), nullable=False, comment="of what was asked for"),
    sa.Column("bet_id", Name, nullable=False),
    sa.Column("answer", LongText, nullable=False, comment="JSON: what was answered first"),
    sa.Column("submitted_at_us", sa.BigInteger, nullable=False),
    sa.Column("application", Name, nullable=True, comment="who asked for it; null: an older release"),
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
    sa.Column("application", Name, nullable=True, comment="who asked for it; null: an older release"),
    sa.UniqueConstraint("order_id"),
    sa.Index(None, "published_at_us", "sequence"),
    comment="Orders to the exchange, each written in its reservation's transaction and published after it.",
)

pending_bets = sa.Table(
    "pending_bets",
    metadata,
    sa.Column("bet_id", Name, primary_key=True),
    sa.Column("user_id", Name, nullable=False),
    sa.Column("market_id", Name, nullable=False),
    sa.Column("since_us", sa.BigInteger, nullable=False, index=True),
    comment="The bets that are PENDING: a row from the transaction that makes one so to the one that ends it.",
)

replacements = sa.Table(
    "replacements",
    metadata,
    sa.Column("new_bet_id", Name, primary_key=True),
    sa.Column("bet_id", Name, nullable=False, comment="the bet that it is to replace"),
    sa.Column("user_id", Name, nullable=False, index=True),
    sa.Column("cancelled_minor", sa.BigInteger, nullable=False, comment="of the old bet, when it was asked"),
    sa.Column("credit_wins_minor", sa.BigInteger, nullable=False),
    sa.Column("credit_loses_minor", sa.BigInteger, nullable=False),
    comment="Replacements that the exchange has not answered. The credit, in the user's position, keeps both bets from counting twice.",
)

wallet_transfers = sa.Table(
    "wallet_transfers",
    metadata,
    sa.Column("transfer_id", Name, primary_key=True),
    sa.Column("account_id", Name, nullable=False),
    sa.Column("request_id", Name, nullable=False, comment="the caller's, unique per account for ever"),
    sa.Column("kind", sa.String(16), nullable=False, comment="deposit, withdrawal"),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("authorised_by", sa.String(100), nullable=False, comment="who let the money in or out"),
    sa.Column("balance_minor", sa.BigInteger, nullable=False, comment="the balance after it"),
    sa.Column("transferred_at_us", sa.BigInteger, nullable=False),
    sa.Column("application", Name, nullable=True, comment="who asked for it; null: an older release"),
    sa.UniqueConstraint("account_id", "request_id"),
    sa.Index(None, "account_id", "transferred_at_us"),
    comment="Money that came in and went out; each is a ledger entry too.",
)

house_balances = sa.Table(
    "house_balances",
    metadata,
    sa.Column("account", sa.String(16), primary_key=True, comment="cash, clearing, commission"),
    sa.Column("market_id", Name, primary_key=True, comment="empty for cash"),
    sa.Column("currency", sa.String(3), primary_key=True),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    comment="The exchange's side of every change of a customer's balance: with those balances, the sum is 0.",
)

limit_changes = sa.Table(
    "limit_changes",
    metadata,
    sa.Column("change_id", RowId, primary_key=True, autoincrement=True),
    sa.Column("account_id", Name, nullable=False, index=True),
    sa.Column(
        "kind", sa.String(16), nullable=False, comment="deposit_24h, deposit_7d, deposit_30d, stake, break"
    ),
    sa.Column(
        "value",
        sa.BigInteger,
        nullable=True,
        comment="minor units; a break's end in microseconds; null: no limit",
    ),
    sa.Column("requested_at_us", sa.BigInteger, nullable=False),
    sa.Column("effective_at_us", sa.BigInteger, nullable=False),
    sa.Column("application", Name, nullable=True, comment="who asked for it; null: an older release"),
    comment="Every change of a limit that an account set for itself, and from when it holds.",
)

profile_view_due = sa.Table(
    "profile_view_due",
    metadata,
    sa.Column("user_id", Name, primary_key=True),
    sa.Column("cause", Name, nullable=False, comment="the newest transfer or bet that changed the profile"),
    comment="Profiles that changed other than by the stream and that the profile view has not taken yet.",
)
