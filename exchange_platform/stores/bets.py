"""Bets, profiles, positions, ledger and outbox: what a batch of bet updates changes, in the caller's transaction.

Not here: the checkpoint and the dead letters of the same transaction (streams/exchange_bets.py puts them together), and the rules of a
bet's life (exchange_platform/bets.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa

from exchange_platform.bets import (
    FLAT,
    Bet,
    BetResult,
    BetStatus,
    IllegalTransition,
    Position,
    check_transition,
    market_exposure_minor,
)
from exchange_platform.stores import outbox
from exchange_platform.stores.bet_rows import bet_from_row, bet_row, decimal_text
from exchange_platform.stores.database import (
    bets,
    ledger,
    market_exposures,
    positions,
    profiles,
    to_us,
)
from exchange_platform.stores.upsert import Bulk, chunks, insert, upsert
from exchange_platform.stores.verdicts import APPLIED, REPEATED, Verdict

_COUNTED_OPEN = frozenset({BetStatus.PENDING, BetStatus.OPEN, BetStatus.MATCHED, BetStatus.UNSETTLED})
_encoder = msgspec.json.Encoder()


@dataclass(slots=True)
class _Market:
    """A user's standing in one market while a batch is folded."""

    currency: str
    number_of_winners: int = 1
    number_of_selections: int = 2
    exposure_minor: int = 0
    positions: dict[tuple[int, str], Position] = field(default_factory=dict)
    touched: set[tuple[int, str]] = field(default_factory=set)


_PROFILE_SUMS = (
    "version",
    "balance_minor",
    "exposure_minor",
    "profit_minor",
    "commission_minor",
    "bets",
    "open_bets",
    "matched_bets",
    "settled_bets",
    "won_bets",
    "lost_bets",
    "staked_minor",
    "matched_minor",
)

_upsert_bets = upsert(bets, replace=[column.name for column in bets.columns if not column.primary_key])
_upsert_positions = upsert(positions, replace=["if_wins_minor", "if_loses_minor"])
_upsert_exposures = upsert(
    market_exposures, replace=["number_of_winners", "number_of_selections", "exposure_minor"]
)
_upsert_profiles = upsert(profiles, add=_PROFILE_SUMS, newest=["last_bet_at_us", "updated_at_us"])
_insert_ledger = insert(ledger)


def apply_bet_updates(connection: sa.Connection, updates: Sequence[Bet]) -> list[Verdict]:
    """Apply bet updates in order; one verdict each.

    A version not newer than what is known changes nothing. One that contradicts what is known (an illegal transition, a
    changed stake, another currency than the profile's) is dead, with a reason, and changes nothing. For each applied one the same
    transaction holds: the bet, its owner's position and exposure in the market, the ledger entries whose sums are the profile's balance and
    exposure, the profile, and an outbox row if the owner is to be told. What is written depends on the updates' order per bet and
    market alone, not on how they were batched.
    """
    if not updates:
        return []
    fold = _Fold(connection, updates)
    verdicts = [fold.apply(update) for update in updates]
    fold.write(connection)
    return verdicts


class _Fold:
    def __init__(self, connection: sa.Connection, updates: Sequence[Bet]) -> None:
        users = sorted({update.user_id for update in updates})
        self._bets = {bet.bet_id: bet for bet in _known_bets(connection, sorted({u.bet_id for u in updates}))}
        self._currencies = _known_currencies(connection, users)
        self._markets = _known_markets(connection, users, sorted({u.market_id for u in updates}))
        self._changed_bets: dict[str, Bet] = {}
        self._ledger: list[dict[str, Any]] = []
        self._outbox: list[dict[str, Any]] = []
        self._profiles: dict[str, dict[str, Any]] = {}

    def apply(self, after: Bet) -> Verdict:
        before = self._bets.get(after.bet_id)
        if before is not None:
            if after.version <= before.version:
                return REPEATED
            try:
                check_transition(before, after)
            except IllegalTransition as error:
                return Verdict(False, f"illegal transition: {error}")
        currency = self._currencies.setdefault(after.user_id, after.currency)
        if currency != after.currency:
            return Verdict(
                False, f"currency {after.currency} of bet {after.bet_id}; user {after.user_id} has {currency}"
            )
        change = _change(before, after)
        exposure_change = self._move_position(before, after)
        balance_change = self._enter(before, after, change or "updated", exposure_change)
        self._sum_profile(before, after, exposure_change, balance_change)
        if change is not None:
            self._outbox.append(
                {
                    "bet_id": after.bet_id,
                    "bet_version": after.version,
                    "user_id": after.user_id,
                    "change": change,
                    "status_before": before.status.value if before is not None else None,
                    "status_after": after.status.value,
                    "bet": _encoder.encode(after).decode(),
                    "changed_at_us": to_us(after.updated_at),
                }
            )
        self._bets[after.bet_id] = self._changed_bets[after.bet_id] = after
        return APPLIED

    def _move_position(self, before: Bet | None, after: Bet) -> int:
        """Move the owner's position in the market; returns the change of exposure."""
        key = (after.user_id, after.market_id)
        market = self._markets.get(key)
        if market is None:
            market = self._markets[key] = _Market(after.currency)
        selection = (after.selection_id, decimal_text(after.handicap))
        held = market.positions.get(selection, FLAT)
        moved = held + after.position() - (before.position() if before is not None else FLAT)
        market.number_of_winners = after.number_of_winners
        market.number_of_selections = after.number_of_selections
        market.touched.add(selection)
        if moved == FLAT:
            market.positions.pop(selection, None)
        else:
            market.positions[selection] = moved
        exposure = market_exposure_minor(
            market.positions.values(), market.number_of_winners, market.number_of_selections
        )
        change = exposure - market.exposure_minor
        market.exposure_minor = exposure
        return change

    def _enter(self, before: Bet | None, after: Bet, cause: str, exposure_change: int) -> int:
        """Enter what the update changes into the ledger; returns the change of balance."""
        profit = after.profit_minor - (before.profit_minor if before is not None else 0)
        commission = after.commission_minor - (before.commission_minor if before is not None else 0)
        for account, entry_cause, amount in (
            ("balance", cause, profit),
            ("balance", "commission", -commission),
            ("exposure", cause, exposure_change),
        ):
            if amount:
                self._ledger.append(
                    {
                        "bet_id": after.bet_id,
                        "bet_version": after.version,
                        "account": account,
                        "cause": entry_cause,
                        "user_id": after.user_id,
                        "market_id": after.market_id,
                        "currency": after.currency,
                        "amount_minor": amount,
                        "entered_at_us": to_us(after.updated_at),
                    }
                )
        return profit - commission

    def _sum_profile(self, before: Bet | None, after: Bet, exposure_change: int, balance_change: int) -> None:
        sums = self._profiles.get(after.user_id)
        if sums is None:
            sums = self._profiles[after.user_id] = {
                "user_id": after.user_id,
                "currency": after.currency,
                **dict.fromkeys(_PROFILE_SUMS, 0),
                "last_bet_at_us": 0,
                "updated_at_us": 0,
            }
        was = _counts(before) if before is not None else _NOTHING
        now = _counts(after)
        if now != was:
            for name, new, old in zip(_COUNTED, now, was, strict=True):
                if new != old:
                    sums[name] += new - old
        sums["version"] += 1
        sums["balance_minor"] += balance_change
        sums["exposure_minor"] += exposure_change
        placed_at_us, updated_at_us = to_us(after.placed_at), to_us(after.updated_at)
        if placed_at_us > sums["last_bet_at_us"]:
            sums["last_bet_at_us"] = placed_at_us
        if updated_at_us > sums["updated_at_us"]:
            sums["updated_at_us"] = updated_at_us

    def write(self, connection: sa.Connection) -> None:
        if not self._changed_bets:
            return
        _upsert_bets.execute(connection, [bet_row(bet) for bet in self._changed_bets.values()])
        self._write_positions(connection)
        _insert_ledger.execute(connection, self._ledger)
        _upsert_profiles.execute(connection, [self._profiles[user] for user in sorted(self._profiles)])
        outbox.append(connection, self._outbox)

    def _write_positions(self, connection: sa.Connection) -> None:
        held: list[dict[str, Any]] = []
        flat: list[dict[str, Any]] = []
        standing: list[dict[str, Any]] = []
        left: list[dict[str, Any]] = []
        for (user_id, market_id), market in self._markets.items():
            if not market.touched:
                continue
            for selection_id, handicap in market.touched:
                position = market.positions.get((selection_id, handicap))
                if position is None:
                    flat.append(
                        {
                            "key_user_id": user_id,
                            "key_market_id": market_id,
                            "key_selection_id": selection_id,
                            "key_handicap": handicap,
                        }
                    )
                else:
                    held.append(
                        {
                            "user_id": user_id,
                            "market_id": market_id,
                            "selection_id": selection_id,
                            "handicap": handicap,
                            "currency": market.currency,
                            "if_wins_minor": position.if_wins_minor,
                            "if_loses_minor": position.if_loses_minor,
                        }
                    )
            if market.positions:
                standing.append(
                    {
                        "user_id": user_id,
                        "market_id": market_id,
                        "currency": market.currency,
                        "number_of_winners": market.number_of_winners,
                        "number_of_selections": market.number_of_selections,
                        "exposure_minor": market.exposure_minor,
                    }
                )
            else:
                left.append({"key_user_id": user_id, "key_market_id": market_id})
        _delete_positions.execute(connection, flat)
        _delete_exposures.execute(connection, left)
        _upsert_positions.execute(connection, held)
        _upsert_exposures.execute(connection, standing)


def _delete(table: sa.Table) -> Bulk:
    keys = [column.name for column in table.primary_key.columns]
    statement = sa.delete(table).where(*(table.c[key] == sa.bindparam(f"key_{key}") for key in keys))
    return Bulk({"sqlite": statement, "mysql": statement}, [])


_delete_positions = _delete(positions)
_delete_exposures = _delete(market_exposures)

_COUNTED = (
    "bets",
    "open_bets",
    "matched_bets",
    "settled_bets",
    "won_bets",
    "lost_bets",
    "staked_minor",
    "matched_minor",
    "profit_minor",
    "commission_minor",
)
_NOTHING = (0,) * len(_COUNTED)


def _counts(bet: Bet) -> tuple[int, ...]:
    """What one bet counts for in its owner's profile, in the order of `_COUNTED`."""
    placed = bet.status is not BetStatus.REJECTED
    return (
        placed,
        bet.status in _COUNTED_OPEN,
        bet.matched_minor > 0,
        bet.status is BetStatus.SETTLED,
        bet.result is BetResult.WON,
        bet.result is BetResult.LOST,
        bet.stake_minor if placed else 0,
        bet.matched_minor,
        bet.profit_minor,
        bet.commission_minor,
    )


def _change(before: Bet | None, after: Bet) -> str | None:
    """What the owner is told of; None where nothing that concerns the owner changed."""
    status = after.status
    was = before.status if before is not None else None
    if status is BetStatus.SETTLED and (was is not BetStatus.SETTLED or before is None):
        return "settled"
    if status is BetStatus.SETTLED:
        assert before is not None
        differs = (before.result, before.profit_minor, before.commission_minor) != (
            after.result,
            after.profit_minor,
            after.commission_minor,
        )
        return "settled" if differs else None
    if status is not was:
        named = {
            BetStatus.REJECTED: "rejected",
            BetStatus.CANCELLED: "cancelled",
            BetStatus.LAPSED: "lapsed",
            BetStatus.VOIDED: "voided",
            BetStatus.UNSETTLED: "unsettled",
        }.get(status)
        if named is not None:
            return named
    matched_before = before.matched_minor if before is not None else 0
    if after.matched_minor > matched_before:
        return "matched"
    if before is None:
        return None if status is BetStatus.PENDING else "accepted"
    if was is BetStatus.PENDING and status is BetStatus.OPEN:
        return "accepted"
    for name, amount_before, amount_after in (
        ("voided", before.voided_minor, after.voided_minor),
        ("lapsed", before.lapsed_minor, after.lapsed_minor),
        ("cancelled", before.cancelled_minor, after.cancelled_minor),
    ):
        if amount_after > amount_before:
            return name
    return None


def _known_bets(connection: sa.Connection, bet_ids: Sequence[str]) -> Iterable[Bet]:
    for some in chunks(bet_ids):
        for row in connection.execute(sa.select(bets).where(bets.c.bet_id.in_(some))):
            yield bet_from_row(row)


def _known_currencies(connection: sa.Connection, users: Sequence[str]) -> dict[str, str]:
    columns = sa.select(profiles.c.user_id, profiles.c.currency)
    return {
        row.user_id: row.currency
        for some in chunks(users)
        for row in connection.execute(columns.where(profiles.c.user_id.in_(some)))
    }


def _known_markets(
    connection: sa.Connection, users: Sequence[str], markets: Sequence[str]
) -> dict[tuple[str, str], _Market]:
    wanted = set(markets)
    known: dict[tuple[str, str], _Market] = {}
    for some in chunks(users):
        for row in connection.execute(
            sa.select(market_exposures).where(market_exposures.c.user_id.in_(some))
        ):
            if row.market_id in wanted:
                known[row.user_id, row.market_id] = _Market(
                    row.currency, row.number_of_winners, row.number_of_selections, row.exposure_minor
                )
        for row in connection.execute(sa.select(positions).where(positions.c.user_id.in_(some))):
            if row.market_id in wanted:
                known[row.user_id, row.market_id].positions[row.selection_id, row.handicap] = Position(
                    row.if_wins_minor, row.if_loses_minor
                )
    return known
