"""Replaying dead letters: what today's decoder and today's state accept is applied after all. Not here: listing them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from exchange_platform.aws import aws_client
from exchange_platform.clock import SYSTEM_CLOCK, Clock
from exchange_platform.records import BetUpdate, Execution, Record, UndecodableRecord, decode
from exchange_platform.settings import Settings
from exchange_platform.stores.bets import apply_bet_updates
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.database import Database, dead_letters
from exchange_platform.stores.dead_letters import UNDELIVERED, DeadLetter, DeadLetters
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.profile_view import ProfileView, ProfileViewMissing
from exchange_platform.stores.profiles import Profiles
from exchange_platform.stores.upsert import chunks

_BATCH = 200


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of the dead letters that were tried."""

    applied: int
    repeats: int
    """Accepted, but known by now: a newer version of the bet was applied meanwhile."""
    still_dead: int


def replay_dead_letters(
    settings: Settings, ids: Sequence[int] | None = None, *, clock: Clock = SYSTEM_CLOCK
) -> Replayed:
    """Try dead records again (None: all that wait), oldest first, beside a running consumer or without one.

    An accepted one is in every store on return and marked as replayed; one that is refused again keeps waiting with its new reason.
    Repeatable: records are known by their ids and versions. Raises `StoreUnavailable`; what was done until then is marked.
    """
    database = Database(settings.operational_database_url)
    lake = Lake.from_settings(settings)
    try:
        letters = DeadLetters(database)
        chosen = letters.waiting_ids() if ids is None else list(ids)
        applied = repeats = still_dead = 0
        users: set[str] = set()
        for some in chunks(chosen, _BATCH):
            waiting = [
                letter
                for letter in (letters.show(one) for one in some)
                if letter is not None and letter.replayed_at_us is None and letter.shard not in UNDELIVERED
            ]
            batch = _replay(database, lake, waiting, clock.now_us(), users)
            applied, repeats, still_dead = (
                applied + batch.applied,
                repeats + batch.repeats,
                still_dead + batch.still_dead,
            )
        _refresh_view(settings, database, sorted(users))
        return Replayed(applied, repeats, still_dead)
    finally:
        lake.close()
        database.dispose()


def _replay(
    database: Database, lake: Lake, letters: Sequence[DeadLetter], now_us: int, users: set[str]
) -> Replayed:
    accepted: list[tuple[DeadLetter, Record]] = []
    refused: list[tuple[DeadLetter, str]] = []
    for letter in letters:
        try:
            accepted.append((letter, decode(letter.data)))
        except UndecodableRecord as error:
            refused.append((letter, str(error)))
    applied = repeats = 0
    alive: list[tuple[DeadLetter, Record]] = []
    with database.write() as connection:
        updates = [record for _, record in accepted if isinstance(record, BetUpdate)]
        verdicts = iter(apply_bet_updates(connection, updates))
        for letter, record in accepted:
            if isinstance(record, BetUpdate):
                verdict = next(verdicts)
                if verdict.reason is not None:
                    refused.append((letter, verdict.reason))
                    continue
                users.add(record.user_id)
                applied += verdict.applied
                repeats += not verdict.applied
            alive.append((letter, record))
        # Into the lake before this transaction ends: if it then fails, doing both again changes nothing there.
        executions = [record for _, record in alive if isinstance(record, Execution)]
        done = lake.commit(
            "dead-letters",
            0,
            [],
            executions,
            [record for _, record in alive if isinstance(record, BetUpdate)],
        )
        applied += done.executions
        repeats += len(executions) - done.executions
        for letter, _ in alive:
            connection.execute(
                sa.update(dead_letters)
                .where(dead_letters.c.dead_letter_id == letter.dead_letter_id)
                .values(replayed_at_us=now_us)
            )
        for letter, reason in refused:
            connection.execute(
                sa.update(dead_letters)
                .where(dead_letters.c.dead_letter_id == letter.dead_letter_id)
                .values(reason=reason)
            )
    return Replayed(applied, repeats, len(refused))


def _refresh_view(settings: Settings, database: Database, users: Sequence[str]) -> None:
    if not users:
        return
    client = aws_client(settings, "dynamodb")
    try:
        ProfileView(client, settings.profiles_table).put(Profiles(database).read(users))
    except ProfileViewMissing as error:
        raise StoreUnavailable(f"{error}: a consumer run makes it") from error
    finally:
        client.close()
