"""What `dead-letters` prints. Not here: keeping them (consumers/dead_letters.py) and applying them again
(replay/dead_letters.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exchange_platform.cli import output
from exchange_platform.process.visible_text import visible
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.consumers.dead_letters import DeadLetter, DeadLetters
from exchange_platform.stores.operational.database import Database, from_us

MAX_SHOWN = 4000


class NoSuchDeadLetter(Exception):
    """There is no dead letter of that id."""


def show_list(settings: Settings, limit: int, *, waiting_only: bool, as_json: bool) -> int:
    """Print the newest dead letters and how many there are."""
    database = opened(settings)
    try:
        letters = DeadLetters(database).list(limit, waiting_only=waiting_only)
        count = DeadLetters(database).count()
    finally:
        database.dispose()
    if as_json:
        output.print_json(
            {
                "waiting": count.waiting,
                "replayed": count.replayed,
                "dead_letters": [_as_json(letter, with_data=False) for letter in letters],
            }
        )
        return 0
    if letters:
        columns = ["id", "dead at", "source", "shard", "position", "stage", "bytes", "reason"]
        rows: list[tuple[Any, ...]] = [
            (
                letter.dead_letter_id,
                from_us(letter.dead_at_us).replace(microsecond=0),
                letter.source,
                letter.shard.partition("@")[0],
                letter.position,
                letter.stage,
                len(letter.data),
                _cut(letter.reason, 160),
            )
            for letter in letters
        ]
        output.print_rows_table(columns, iter(rows), len(rows))
    print(f"{count.waiting:,} waiting, {count.replayed:,} replayed")
    return 0


def show_one(settings: Settings, dead_letter_id: int, *, as_json: bool) -> int:
    """Print one dead letter. Raises `NoSuchDeadLetter`."""
    database = opened(settings)
    try:
        letter = DeadLetters(database).show(dead_letter_id)
    finally:
        database.dispose()
    if letter is None:
        raise NoSuchDeadLetter(
            f"there is no dead letter {dead_letter_id}; `dead-letters list --all` shows them"
        )
    if as_json:
        output.print_json(_as_json(letter, with_data=True))
        return 0
    lines = [
        ("id", str(letter.dead_letter_id)),
        ("source", letter.source),
        ("shard", letter.shard),
        ("position", f"{letter.position} part {letter.part}"),
        ("partition key", letter.partition_key),
        ("stage", letter.stage),
        ("arrived at", from_us(letter.arrived_at_us).isoformat()),
        ("dead at", from_us(letter.dead_at_us).isoformat()),
        ("replayed at", from_us(letter.replayed_at_us).isoformat() if letter.replayed_at_us else "not yet"),
        ("reason", _cut(letter.reason, MAX_SHOWN)),
        ("bytes", f"{len(letter.data):,}"),
    ]
    for name, value in lines:
        print(f"{name:<14} {visible(value)}")
    print()
    print(output.visible_bytes(letter.data[:MAX_SHOWN]))
    if len(letter.data) > MAX_SHOWN:
        print(f"... {len(letter.data) - MAX_SHOWN:,} bytes more; --json prints all (base64)")
    return 0


def replay_letters(settings: Settings, ids: Sequence[int] | None, *, as_json: bool) -> int:
    """Apply dead letters again; 1 if some are still refused. Raises `NoSuchDeadLetter`."""
    from exchange_platform.notifications.dead_letters import replay_undelivered
    from exchange_platform.streams.replay.dead_letters import Replayed, replay_dead_letters

    database = opened(settings)
    try:
        letters = DeadLetters(database)
        missing = [one for one in ids or () if letters.show(one) is None]
    finally:
        database.dispose()
    if missing:
        raise NoSuchDeadLetter(
            f"there is no dead letter {', '.join(map(str, missing))}; nothing was replayed. `dead-letters list` shows them"
        )
    records, undelivered = replay_dead_letters(settings, ids), replay_undelivered(settings, ids)
    replayed = Replayed(
        records.applied + undelivered.applied, records.repeats, records.still_dead + undelivered.still_dead
    )
    if as_json:
        output.print_json(
            {"applied": replayed.applied, "repeats": replayed.repeats, "still_dead": replayed.still_dead}
        )
    else:
        print(
            f"{replayed.applied:,} applied, {replayed.repeats:,} known already, {replayed.still_dead:,} still refused"
            + (" (their reasons are brought up to date)" if replayed.still_dead else "")
        )
    return int(replayed.still_dead > 0)


def opened(settings: Settings) -> Database:
    """The operational database of a platform that there is. Raises `NoPlatform`."""
    from exchange_platform.operations.status import StatusReader

    StatusReader(
        settings
    ).close()  # says clearly that there is no platform here, before an empty database is made
    return Database(settings.operational_database_url)


def _as_json(letter: DeadLetter, *, with_data: bool) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": letter.dead_letter_id,
        "source": letter.source,
        "shard": letter.shard,
        "position": letter.position,
        "part": letter.part,
        "partition_key": letter.partition_key,
        "stage": letter.stage,
        "reason": letter.reason,
        "bytes": len(letter.data),
        "arrived_at": from_us(letter.arrived_at_us),
        "dead_at": from_us(letter.dead_at_us),
        "replayed_at": from_us(letter.replayed_at_us) if letter.replayed_at_us is not None else None,
    }
    return values | ({"data_base64": letter.data} if with_data else {})


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"
