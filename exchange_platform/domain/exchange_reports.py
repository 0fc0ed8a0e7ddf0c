"""The report that an exchange gives of itself over HTTP, as documented in docs/exchange.md: its forms,
strictly decoded.

The simulated exchange's gateway encodes them, whoever compares the stores with the exchange decodes them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import msgspec

from exchange_platform.domain.bets import Id, Instant
from exchange_platform.domain.schemas import json_schema_of

Count = Annotated[int, msgspec.Meta(ge=0)]
Cursor = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class MarketMinute(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happened in a market in one minute: executions by `executed_at`, bet versions by `updated_at`.

    The last four are sums over all versions of bets that were published with that minute's `updated_at`.
    """

    market_id: Id
    minute: Instant
    executions: Count
    stake: Decimal
    bet_versions: Count
    versions: Count
    matched_minor: Count
    remaining_minor: Count
    profit_minor: int


class ReportedSpan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer to `GET /report`. Market minutes with nothing in them have no row."""

    since: Instant
    """The exchange holds the sums of minutes from here on."""
    until: Instant
    """And they are complete up to here."""
    acknowledged_until: Instant | None = None
    """Every store of the platform had committed all that happened before this, as the platform reported.
    None: it is not known.
    """
    records_since: Instant
    """From here on the exchange lists bets, and can publish records again."""
    dropped_records: Count = 0
    """So many records the exchange had to forget before the platform had acknowledged them."""
    dropped_until: Instant | None = None
    minutes: list[MarketMinute]
    next: Cursor | None = None
    """To be given as `after` for what follows; none behind the last page."""


class ReportedBet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bet's newest version within a minute, with the digest of its state (bet_digest.py)."""

    bet_id: Id
    market_id: Id
    version: Annotated[int, msgspec.Meta(ge=1)]
    digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]


class ReportedBets(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer to `GET /report/bets`, in the order of the bets' ids."""

    minute: Instant
    bets: list[ReportedBet]
    next: Cursor | None = None


class MissingSpan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A market's records of one minute."""

    market_id: Id
    minute: Instant


class Missing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /missing`: what the exchange is to publish again."""

    spans: Annotated[list[MissingSpan], msgspec.Meta(max_length=1000)] = []
    bets: Annotated[list[Id], msgspec.Meta(max_length=1000)] = []


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the answers and of what is asked for."""
    return json_schema_of("exchange-report", [ReportedSpan, ReportedBets, Missing])
