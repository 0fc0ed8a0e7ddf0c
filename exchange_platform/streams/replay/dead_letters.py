"""Replaying dead letters: what today's decoder and today's state accept is applied after all. Not here:
listing them (consumers/dead_letters.py), what applying means for a source (dead_bets.py, dead_updates.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from exchange_platform.domain.records import UndecodableRecord
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.settings import Settings
from exchange_platform.stores.failures import Kind, described, kind_of
from exchange_platform.stores.operational.consumers.dead_letters import UNDELIVERED, DeadLetter, DeadLetters
from exchange_platform.stores.operational.database import Database, dead_letters
from exchange_platform.stores.operational.upsert import chunks
from exchange_platform.stores.operational.verdicts import Verdict
from exchange_platform.streams.replay.dead_bets import DeadBets
from exchange_platform.streams.replay.dead_updates import DeadUpdates
from exchange_platform.streams.sources.names import EXCHANGE_BETS, EXCHANGE_FEED

_BATCH = 200


class Replaying(Protocol):
    """How one source's dead letters are applied."""

    def decode(self, data: bytes) -> Any:
        """The record, or `UndecodableRecord`."""
        ...

    def apply(self, connection: sa.Connection, records: Sequence[Any], now_us: int) -> Sequence[Verdict]:
        """Apply records in the caller's transaction; one verdict each. If the transaction fails, doing it
        again does no harm.
        """
        ...

    def finish(self) -> None:
        """Bring the other stores up to date with what was applied, and close what was opened."""
        ...


_REPLAYING: Mapping[str, Callable[[Settings, Database], Replaying]] = {
    EXCHANGE_BETS: DeadBets,
    EXCHANGE_FEED: DeadUpdates,
}


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of the dead letters that were tried."""

    applied: int = 0
    repeats: int = 0
    """Accepted, but known by now: a newer version was applied meanwhile."""
    still_dead: int = 0

    def __add__(self, other: Replayed) -> Replayed:
        return Replayed(
            self.applied + other.applied, self.repeats + other.repeats, self.still_dead + other.still_dead
        )


def replay_dead_letters(
    settings: Settings, ids: Sequence[int] | None = None, *, clock: Clock = SYSTEM_CLOCK
) -> Replayed:
    """Try dead records again (None: all that wait), oldest first, beside a running consumer or without one.

    An accepted one is in the stores of its source on return and marked as replayed; one that is refused again
    keeps waiting with its new reason. Repeatable: records are known by their ids and versions. Raises
    `StoreUnavailable`; what was done until then is marked.
    """
    database = Database(settings.operational_database_url)
    sources: dict[str, Replaying] = {}
    total = Replayed()
    try:
        letters = DeadLetters(database)
        chosen = letters.waiting_ids() if ids is None else list(ids)
        for some in chunks(chosen, _BATCH):
            shown = (letters.show(one) for one in some)
            waiting = [
                letter
                for letter in shown
                if letter is not None and letter.replayed_at_us is None and letter.shard not in UNDELIVERED
            ]
            for name in sorted({letter.source for letter in waiting}):
                of_it = [letter for letter in waiting if letter.source == name]
                if name not in _REPLAYING:
                    total += Replayed(still_dead=len(of_it))  # another platform's: nothing here can judge it
                    continue
                if name not in sources:
                    sources[name] = _REPLAYING[name](settings, database)
                total += _replay(database, sources[name], of_it, clock.now_us())
        return total
    finally:
        for source in sources.values():
            source.finish()
        database.dispose()


def _replay(database: Database, source: Replaying, letters: Sequence[DeadLetter], now_us: int) -> Replayed:
    """Apply them together; where a store refuses one of them, find it, so that the others are applied."""
    try:
        return _replay_together(database, source, letters, now_us)
    except Exception as error:
        if kind_of(error) is not Kind.DATA:
            raise
        if len(letters) > 1:
            half = len(letters) // 2
            return _replay(database, source, letters[:half], now_us) + _replay(
                database, source, letters[half:], now_us
            )
        with database.write() as connection:
            _change(connection, letters[0], reason=described(error))
        return Replayed(still_dead=1)


def _replay_together(
    database: Database, source: Replaying, letters: Sequence[DeadLetter], now_us: int
) -> Replayed:
    alive: list[tuple[DeadLetter, Any]] = []
    refused: list[tuple[DeadLetter, str]] = []
    for letter in letters:
        try:
            alive.append((letter, source.decode(letter.data)))
        except UndecodableRecord as error:
            refused.append((letter, str(error)))
    applied = repeats = 0
    with database.write() as connection:
        verdicts = source.apply(connection, [record for _, record in alive], now_us)
        for (letter, _), verdict in zip(alive, verdicts, strict=True):
            if verdict.reason is not None:
                refused.append((letter, verdict.reason))
                continue
            applied += verdict.applied
            repeats += not verdict.applied
            _change(connection, letter, replayed_at_us=now_us)
        for letter, reason in refused:
            _change(connection, letter, reason=reason)
    return Replayed(applied, repeats, len(refused))


def _change(connection: sa.Connection, letter: DeadLetter, **values: Any) -> None:
    connection.execute(
        sa.update(dead_letters).where(dead_letters.c.dead_letter_id == letter.dead_letter_id).values(**values)
    )
