"""Bets whose rows were lost though their effects are in the books: what is known of them, so that they come
back without counting twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from exchange_platform.domain.bets import Bet
from exchange_platform.process.decoders import json_decoder
from exchange_platform.stores.operational.database import ledger, outbox
from exchange_platform.stores.operational.upsert import Lookup

_decoder = json_decoder(Bet)
_LEDGER = Lookup(
    sa.select(ledger.c.reference, sa.func.max(ledger.c.reference_version)).group_by(ledger.c.reference),
    ledger.c.reference,
)
_CHANGES = Lookup(
    sa.select(outbox.c.bet_id, sa.func.max(outbox.c.bet_version)).group_by(outbox.c.bet_id), outbox.c.bet_id
)
_STATE = sa.select(outbox.c.bet).where(
    outbox.c.bet_id == sa.bindparam("key_bet_id"), outbox.c.bet_version == sa.bindparam("key_version")
)


class Trace(NamedTuple):
    """What a lost bet left behind: the newest version that the books or the outbox know, and its state where
    that is known.
    """

    version: int
    state: Bet | None


def traces(connection: sa.Connection, unknown: Sequence[str]) -> dict[str, Trace]:
    """Of bets that have no row, those that had one. A bet that is new has left no trace."""
    if not unknown:
        return {}
    entered: dict[str, int] = dict(map(tuple, _LEDGER.rows(connection, unknown)))
    changed: dict[str, int] = dict(map(tuple, _CHANGES.rows(connection, unknown)))
    found: dict[str, Trace] = {}
    for bet_id in entered.keys() | changed.keys():
        version = max(entered.get(bet_id, 0), changed.get(bet_id, 0))
        state = None
        if changed.get(bet_id) == version:
            text = connection.execute(_STATE, {"key_bet_id": bet_id, "key_version": version}).scalar_one()
            state = _decoder.decode(text)
        found[bet_id] = Trace(version, state)
    return found
