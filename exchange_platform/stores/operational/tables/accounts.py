"""The operational database's tables of accounts and of the limits on calls. Not here: what is written to them
(accounts/accounts.py, accounts/limits.py).
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from exchange_platform.stores.operational.database import Name, metadata

# Addresses are ASCII, and compared byte by byte on both databases.
_Address = sa.String(254).with_variant(
    mysql.VARCHAR(254, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
_DisplayName = sa.String(100).with_variant(
    mysql.VARCHAR(100, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)
_Reason = sa.String(200).with_variant(
    mysql.VARCHAR(200, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("account_id", Name, primary_key=True, comment="the user_id of the account's bets and profile"),
    sa.Column("email", _Address, nullable=False, comment="as mail is sent to it"),
    sa.Column("email_key", _Address, nullable=False, comment="what makes two addresses the same"),
    sa.Column(
        "holds_email_key",
        _Address,
        nullable=True,
        comment="email_key from the confirmation to the closing: an address belongs to one account",
    ),
    sa.Column("display_name", _DisplayName, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, comment="PENDING, CONFIRMED, UNDELIVERABLE, CLOSED"),
    sa.Column("state_reason", _Reason, nullable=True),
    sa.Column("version", sa.BigInteger, nullable=False, comment="one more for each change of the state"),
    sa.Column("mail_choice", sa.String(16), nullable=False, comment="all, settlements, digest, none"),
    sa.Column(
        "confirmations", sa.BigInteger, nullable=False, comment="how many were asked for: the newest's number"
    ),
    sa.Column("confirmation_at_us", sa.BigInteger, nullable=False, comment="when the newest was asked for"),
    sa.Column("created_at_us", sa.BigInteger, nullable=False),
    sa.Column("confirmed_at_us", sa.BigInteger, nullable=True),
    sa.Column("changed_at_us", sa.BigInteger, nullable=False),
    sa.Column(
        "registered_by",
        Name,
        nullable=True,
        comment="the application that registered it; null: an older release",
    ),
    sa.UniqueConstraint("holds_email_key"),
    sa.Index(None, "email_key"),
    sa.Index(None, "state", "created_at_us"),
    comment="Who has registered. Several may have one address until one of them is confirmed.",
)

rate_limits = sa.Table(
    "rate_limits",
    metadata,
    sa.Column("subject", Name, primary_key=True, comment="SHA-256 of the rule and of whom it limits"),
    sa.Column(
        "hits",
        sa.LargeBinary(16_000).with_variant(mysql.VARBINARY(16_000), "mysql", "mariadb"),
        nullable=False,
        comment="when the rule let something through: 8 bytes each, microseconds",
    ),
    sa.Column("idle_at_us", sa.BigInteger, nullable=False, comment="from then on the row says nothing"),
    sa.Index(None, "idle_at_us"),
    comment="What the limits on calls remember; shared by every process of the API.",
)
