"""What `bet-orders` carries to the exchange: versioned, strictly decoded. Not here: what the exchange answers
(records.py).

An order is one JSON object, as a record of `exchange-bets` is: `kind` says which, `v` its schema version, and
unknown kinds, versions and fields are refused. The partition key is the market's id, so that a market's
orders keep their order.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from exchange_platform.domain.bets import (
    Currency,
    Id,
    Instant,
    SelectionId,
    Side,
    check_handicap,
    check_instant,
    check_odds_in_range,
)
from exchange_platform.domain.records import UndecodableRecord, strictly
from exchange_platform.domain.schemas import json_schema_of
from exchange_platform.process.decoders import json_decoder

Stake = Annotated[int, msgspec.Meta(ge=1, le=10**13)]


class _Order(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True):
    """What every order has. `order_id` names this request; `bet_id` is the platform's, and the exchange drops
    what repeats it.
    """

    v: Literal[1] = 1
    order_id: Id
    bet_id: Id
    user_id: Id
    market_id: Id
    ordered_at: Instant

    def __post_init__(self) -> None:
        check_instant("ordered_at", self.ordered_at)


class PlaceOrder(_Order, frozen=True, kw_only=True, tag="place"):
    """Place a bet. Without `odds` it is a market order, met at once or not at all. `stake_minor` is the
    backer's stake asked for.

    The exchange's answer is a `bet_update` of this `bet_id` with a version above `version`, the one that the
    platform has given it. What is fixed for a bet's life is what the order says, `placed_at` its
    `ordered_at`; a market order's `odds` are the worst that it takes (1.01 for a back, 1000 for a lay). One
    that is not taken is answered with a `REJECTED` bet, its stake all in `cancelled_minor`.
    """

    version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] = 1
    event_id: Id
    selection_id: SelectionId
    handicap: Decimal = Decimal(0)
    side: Side
    odds: Decimal | None = None
    currency: Currency
    stake_minor: Stake

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.odds is not None:
            check_odds_in_range(self.odds)
        if self.handicap:
            check_handicap(self.handicap)


class CancelOrder(_Order, frozen=True, kw_only=True, tag="cancel"):
    """Take a resting bet's remainder, or `size_minor` of it, out."""

    size_minor: Stake | None = None


class ReplaceOrder(_Order, frozen=True, kw_only=True, tag="replace"):
    """Cancel a resting bet's remainder and place so much at other odds, as `new_bet_id`; both or neither.

    The new bet is already known as `PENDING` with `stake_minor`, what the platform knew to rest. Where less
    rests by now, the new bet's `stake_minor` is still this and the difference is in its `cancelled_minor`;
    where nothing does, it is `REJECTED`, and the old bet stays as it is. The rest of what is fixed for its
    life is the old bet's, `placed_at` this order's `ordered_at`.
    """

    new_bet_id: Id
    new_version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] = 1
    odds: Decimal
    stake_minor: Stake

    def __post_init__(self) -> None:
        super().__post_init__()
        check_odds_in_range(self.odds)


Order = PlaceOrder | CancelOrder | ReplaceOrder

_decoder: msgspec.json.Decoder[Order] = json_decoder(PlaceOrder | CancelOrder | ReplaceOrder)
_encoder = msgspec.json.Encoder()


def decode_order(data: bytes) -> Order:
    """Decode one order's bytes strictly. Raises `UndecodableRecord`, whose message says what was wrong and
    where.
    """
    return strictly(_decoder, data)


def encode_order(order: Order) -> bytes:
    """Encode one order as JSON bytes; `decode_order` gives back an equal one."""
    return _encoder.encode(order)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of what the stream `bet-orders` carries."""
    return json_schema_of("bet-orders", [PlaceOrder | CancelOrder | ReplaceOrder])


__all__ = [
    "CancelOrder",
    "Order",
    "PlaceOrder",
    "ReplaceOrder",
    "UndecodableRecord",
    "decode_order",
    "encode_order",
    "json_schema",
]
