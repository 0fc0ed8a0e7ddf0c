"""The operational database's tables of applications' tokens and of security events. Not here: what is written
to them (accounts/api_tokens.py, security_events.py).
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from exchange_platform.stores.operational.database import LongText, Name, RowId, metadata

_Detail = sa.String(200).with_variant(
    mysql.VARCHAR(200, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)

api_tokens = sa.Table(
    "api_tokens",
    metadata,
    sa.Column("token_id", Name, primary_key=True, comment="names the token; no secret"),
    sa.Column("application", Name, nullable=False, index=True),
    sa.Column(
        "sha256",
        sa.LargeBinary(32).with_variant(mysql.VARBINARY(32), "mysql", "mariadb"),
        nullable=False,
        comment="of the token, which is nowhere at rest",
    ),
    sa.Column("scopes", Name, nullable=False, comment="read, bet, money, operate: separated by spaces"),
    sa.Column("all_accounts", sa.Boolean, nullable=False),
    sa.Column(
        "account_ids",
        LongText,
        nullable=False,
        comment="JSON: the accounts besides those that the application registered",
    ),
    sa.Column("made_at_us", sa.BigInteger, nullable=False),
    sa.Column("expires_at_us", sa.BigInteger, nullable=False),
    sa.Column("revoked_at_us", sa.BigInteger, nullable=True),
    sa.Column("last_used_at_us", sa.BigInteger, nullable=True, comment="to the minute"),
    sa.UniqueConstraint("sha256"),
    comment="The tokens that applications show to the API, and what each may do.",
)

security_events = sa.Table(
    "security_events",
    metadata,
    sa.Column("event_id", RowId, primary_key=True, autoincrement=True),
    sa.Column("at_us", sa.BigInteger, nullable=False, index=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("application", Name, nullable=True),
    sa.Column("token_id", Name, nullable=True),
    sa.Column("account_id", Name, nullable=True),
    sa.Column("client", Name, nullable=True, comment="the network address that it came from"),
    sa.Column("detail", _Detail, nullable=False),
    sa.Column("occurrences", sa.BigInteger, nullable=False, comment="how often since the row before"),
    comment="Who was let in or refused, who moved money, changed limits, closed accounts, made and revoked tokens. Rows are only added, and purged.",
)
