"""What users stand to win and lose in markets, and the exposure that follows. Not here: where a bet moves it
(bets.py, exchange_platform/domain/bets.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from exchange_platform.domain.bets import FLAT, Position, market_exposure_minor
from exchange_platform.stores.operational.database import market_exposures, positions
from exchange_platform.stores.operational.upsert import ByKey, Lookup, upsert

SelectionKey = tuple[int, str]
"""A selection's id and its handicap as text."""

_upsert_positions = upsert(positions, replace=["if_wins_minor", "if_loses_minor"])
_delete_positions = ByKey(positions)
_delete_exposures = ByKey(market_exposures)
_upsert_exposures = upsert(
    market_exposures, replace=["number_of_winners", "number_of_selections", "exposure_minor"]
)


@dataclass(slots=True)
class MarketPosition:
    """A user's standing in one market while a transaction goes on."""

    currency: str
    number_of_winners: int = 1
    number_of_selections: int = 2
    exposure_minor: int = 0
    positions: dict[SelectionKey, Position] = field(default_factory=dict)
    touched: set[SelectionKey] = field(default_factory=set)

    def exposure_after(
        self, selection: SelectionKey, change: Position, number_of_winners: int, number_of_selections: int
    ) -> int:
        """What the exposure would be if the position on the selection changed so."""
        moved = self.positions.get(selection, FLAT) + change
        others = [position for key, position in self.positions.items() if key != selection]
        return market_exposure_minor(
            others if moved == FLAT else [*others, moved], number_of_winners, number_of_selections
        )

    def move(
        self, selection: SelectionKey, change: Position, number_of_winners: int, number_of_selections: int
    ) -> int:
        """Change the position on the selection; returns the change of the exposure."""
        held = self.positions.get(selection)
        moved = change if held is None else held + change
        self.number_of_winners = number_of_winners
        self.number_of_selections = number_of_selections
        self.touched.add(selection)
        if moved == FLAT:
            self.positions.pop(selection, None)
        else:
            self.positions[selection] = moved
        exposure = market_exposure_minor(self.positions.values(), number_of_winners, number_of_selections)
        difference = exposure - self.exposure_minor
        self.exposure_minor = exposure
        return difference


class MarketPositions:
    """The standings of some users in some markets, for one transaction that holds the users' profiles."""

    def __init__(self, connection: sa.Connection, users: Sequence[str], markets: Sequence[str]) -> None:
        self._known = _read(connection, users, markets)

    def of(self, user_id: str, market_id: str, currency: str) -> MarketPosition:
        """The user's standing in the market."""
        standing = self._known.get((user_id, market_id))
        if standing is None:
            standing = self._known[user_id, market_id] = MarketPosition(currency)
        return standing

    def write(self, connection: sa.Connection) -> None:
        """Write what was moved."""
        held: list[dict[str, Any]] = []
        flat: list[dict[str, Any]] = []
        standing: list[dict[str, Any]] = []
        left: list[dict[str, Any]] = []
        for (user_id, market_id), market in self._known.items():
            if not market.touched:
                continue
            for selection_id, handicap in market.touched:
                position = market.positions.get((selection_id, handicap))
                if position is None:
                    flat.append(
                        {
                            "user_id": user_id,
                            "market_id": market_id,
                            "selection_id": selection_id,
                            "handicap": handicap,
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
                left.append({"user_id": user_id, "market_id": market_id})
        _delete_positions.execute(connection, flat)
        _delete_exposures.execute(connection, left)
        _upsert_positions.execute(connection, held)
        _upsert_exposures.execute(connection, standing)


_EXPOSURES = Lookup(sa.select(market_exposures), market_exposures.c.user_id)
_POSITIONS = Lookup(sa.select(positions), positions.c.user_id)


def _read(
    connection: sa.Connection, users: Sequence[str], markets: Sequence[str]
) -> dict[tuple[str, str], MarketPosition]:
    wanted = set(markets)
    known: dict[tuple[str, str], MarketPosition] = {}
    for row in _EXPOSURES.rows(connection, users):
        if row.market_id in wanted:
            known[row.user_id, row.market_id] = MarketPosition(
                row.currency, row.number_of_winners, row.number_of_selections, row.exposure_minor
            )
    for row in _POSITIONS.rows(connection, users):
        if row.market_id in wanted:
            known[row.user_id, row.market_id].positions[row.selection_id, row.handicap] = Position(
                row.if_wins_minor, row.if_loses_minor
            )
    return known
