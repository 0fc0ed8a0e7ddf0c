"""What the streams carry: versioned records, strictly decoded. Not here: how they travel (streams/) or are
stored (stores/).

A record is one JSON object. `kind` says which, `v` its schema version. Unknown kinds, versions and fields,
wrong types and values outside the stated ranges are refused with a reason: nothing is guessed. Decimals
travel as JSON strings or numbers and are kept exactly; instants are RFC 3339 with an offset.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from exchange_platform.domain.bets import (
    Bet,
    Id,
    IllegalBet,
    Instant,
    SelectionId,
    check_handicap,
    check_instant,
    check_odds_in_range,
)
from exchange_platform.domain.schemas import json_schema_of
from exchange_platform.process.decoders import json_decoder

MAX_STAKE = Decimal(10) ** 12


class Execution(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="execution",
    forbid_unknown_fields=True,
    gc=False,
):
    """One match of a back against a lay at a price.

    `stake` is the backer's stake, counted once, in major units (pounds) with at most 3 decimals, since a
    market's doubled volume halves to half pennies. `execution_id` is the producer's; a repeat of it is the
    same execution.
    """

    v: Literal[1] = 1
    execution_id: Annotated[str, msgspec.Meta(min_length=1, max_length=96, pattern=r"^[!-~]+$")]
    event_id: Id
    market_id: Id
    selection_id: SelectionId
    handicap: Decimal = Decimal(0)
    odds: Decimal
    stake: Decimal
    executed_at: Instant
    back_bet_id: Id | None = None
    lay_bet_id: Id | None = None

    def __post_init__(self) -> None:
        check_odds_in_range(self.odds)
        if self.handicap:
            check_handicap(self.handicap)
        check_instant("executed_at", self.executed_at)
        stake = self.stake
        if not stake.is_finite() or not 0 < stake <= MAX_STAKE or stake != round(stake, 3):
            raise IllegalBet(
                f"stake {stake} out of range: allowed is more than 0, at most {MAX_STAKE}, with at most 3 decimals"
            )


class BetUpdate(
    Bet, frozen=True, kw_only=True, tag_field="kind", tag="bet_update", forbid_unknown_fields=True
):
    """A bet's whole state at a version. Not a difference: applying the newest version alone gives the bet."""

    v: Literal[1] = 1


Record = Execution | BetUpdate


class UndecodableRecord(ValueError):
    """A record's bytes are not a record that this platform knows: dead-letter it. The message is the
    reason.
    """


_decoder: msgspec.json.Decoder[Record] = json_decoder(Execution | BetUpdate)
_encoder = msgspec.json.Encoder()


_T = TypeVar("_T")


def strictly(decoder: msgspec.json.Decoder[_T], data: bytes) -> _T:
    """Decode with any of the platform's decoders. Raises `UndecodableRecord` for whatever is wrong with the
    bytes.
    """
    try:
        return decoder.decode(data)
    except (
        msgspec.MsgspecError,
        UnicodeDecodeError,
        ValueError,
        TypeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        reason = str(error) or type(error).__name__
        raise UndecodableRecord(reason[:500]) from error


def decode(data: bytes) -> Record:
    """Decode one record's bytes strictly. Raises `UndecodableRecord`, whose message says what was wrong and
    where.
    """
    return strictly(_decoder, data)


def encode(record: Record) -> bytes:
    """Encode one record as JSON bytes; `decode` gives back an equal one."""
    return _encoder.encode(record)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of what the stream `exchange-bets` carries."""
    return json_schema_of("exchange-bets", [Execution | BetUpdate])
