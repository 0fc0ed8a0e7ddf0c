"""The outbox against the bets' changes: each once, in its bet's order, read to the end by every channel."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from tests.faults.audit.expected import Expected
from tests.faults.audit.findings import Finding, differences
from tests.faults.audit.records import BET_FIELDS, Bet, of_json

STORE = "outbox"
CHANNELS = ("topic", "mail")


def changes(db: sqlite3.Connection, expected: Expected) -> Iterator[Finding]:
    """Each change has one row, which says what changed and how the bet was then; no row is of
    anything else.
    """
    missing = dict(expected.changes)
    newest_of: dict[str, int] = {}
    last = 0
    for row in db.execute("SELECT * FROM notification_outbox ORDER BY sequence"):
        if row["sequence"] != last + 1:
            yield Finding(STORE, "sequences are missing", f"{last + 1} to {row['sequence'] - 1}")
        last = row["sequence"]
        name = f"bet {row['bet_id']} version {row['bet_version']}"
        wanted = missing.pop((row["bet_id"], row["bet_version"]), None)
        if wanted is None:
            yield Finding(STORE, "a change too many", name, row["change"])
            continue
        said = (row["change"], row["status_before"], row["status_after"], row["user_id"])
        should = (wanted.kind, wanted.before, wanted.bet.status, wanted.bet.user_id)
        if said != should:
            yield Finding(STORE, "a change differs", name, f"{said}, should be {should}")
        bet = of_json(row["bet"])
        assert isinstance(bet, Bet)
        if differs := differences(wanted.bet, bet, BET_FIELDS):
            yield Finding(STORE, "a change's bet differs", name, differs)
        if row["bet_version"] <= newest_of.get(row["bet_id"], 0):
            yield Finding(STORE, "a change overtook an earlier one", name)
        newest_of[row["bet_id"]] = row["bet_version"]
    for (bet_id, version), change in missing.items():
        yield Finding(STORE, "a change is missing", f"bet {bet_id} version {version}", change.kind)


def channels(db: sqlite3.Connection) -> Iterator[Finding]:
    """Every channel stands at the outbox's end."""
    (end,) = db.execute("SELECT coalesce(max(sequence), 0) FROM notification_outbox").fetchone()
    newest = db.execute("SELECT newest FROM outbox_sequences WHERE outbox = 'notifications'").fetchone()
    if (newest[0] if newest is not None else 0) != end:
        yield Finding(STORE, "the newest sequence", f"{newest and newest[0]}, the newest row has {end}")
    for channel, count in behind(db).items():
        if count:
            yield Finding(STORE, "changes that a channel has not read", channel, f"{count} before {end}")


def behind(db: sqlite3.Connection) -> dict[str, int]:
    """How many changes each channel has still to read."""
    (end,) = db.execute("SELECT coalesce(max(sequence), 0) FROM notification_outbox").fetchone()
    at = {
        row["sink"]: int(row["position"] or 0)
        for row in db.execute("SELECT * FROM checkpoints WHERE source = 'notifications' AND shard = 'outbox'")
    }
    return {channel: end - at.get(channel, 0) for channel in CHANNELS}
