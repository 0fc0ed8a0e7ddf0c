"""Mails against changes: each change of a customer's bet in one mail, each mail once in the folder under its
one Message-ID.
"""

from __future__ import annotations

import email
import email.policy
import hashlib
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.audit.expected import Expected
from tests.faults.audit.findings import Finding

STORE = "mails"
FOLDER = "mail"


@dataclass(frozen=True, slots=True)
class Kept:
    """A mail of the folder."""

    name: str
    message_id: str
    to: str
    text: str


def kept(data_dir: Path) -> list[Kept]:
    """The mails of the embedded sender."""
    return [_read(path) for path in sorted((data_dir / FOLDER).glob("*.eml"))]


def _read(path: Path) -> Kept:
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    body = message.get_body(("plain",))
    local = str(message["Message-ID"]).strip("<>").partition("@")[0]
    to = message["To"].addresses[0].addr_spec
    return Kept(path.name, local, to, str(body.get_content()) if body is not None else "")


def mails(
    db: sqlite3.Connection, data_dir: Path, expected: Expected, *, repeats: int = 0
) -> Iterator[Finding]:
    """Each change of a confirmed customer's bet is in one mail that was sent to its owner; `repeats` mails
    may be there twice.
    """
    rows = {row["mail_id"]: row for row in db.execute("SELECT * FROM mails")}
    owed = {key: one for key, one in expected.changes.items() if one.bet.user_id in expected.accounts}
    used: dict[str, set[str]] = defaultdict(set)
    for row in db.execute(
        "SELECT o.bet_id, o.bet_version, m.mail_id FROM mail_changes m"
        " LEFT JOIN notification_outbox o ON o.sequence = m.outbox_sequence"
    ):
        change = owed.pop((row["bet_id"], row["bet_version"]), None)
        if change is None:
            yield Finding(STORE, "a mail of a change that nobody is owed", str(row["mail_id"]))
            continue
        used[row["mail_id"]].add(change.bet.user_id)
    for (bet_id, version), change in owed.items():
        yield Finding(STORE, "a change in no mail", f"bet {bet_id} version {version}", change.kind)
    files: dict[str, list[Kept]] = defaultdict(list)
    for one in kept(data_dir):
        files[one.message_id].append(one)
    for mail_id, row in rows.items():
        sent = files.pop(_message_id(mail_id), [])
        if row["source"] == "notifications":
            yield from _notification(mail_id, row, sent, used.pop(mail_id, set()), expected)
        elif row["state"] == "sent" and not sent:
            yield Finding(STORE, "a mail is marked as sent and is not in the folder", mail_id)
        elif row["state"] == "waiting":
            yield Finding(STORE, "a mail still waits", mail_id, str(row["reason"]))
        repeats -= max(0, len(sent) - 1)
    for mail_id in used:
        yield Finding(STORE, "a mail is missing in the database", mail_id)
    for message_id, some in files.items():
        yield Finding(STORE, "a mail that nobody queued", f"{message_id} to {some[0].to}", some[0].name)
    if repeats < 0:
        yield Finding(STORE, "more repeats than are allowed", f"{-repeats} too many")


def _notification(
    mail_id: str, row: sqlite3.Row, sent: list[Kept], owners: set[str], expected: Expected
) -> Iterator[Finding]:
    if row["state"] != "sent":
        yield Finding(STORE, f"a mail is {row['state']}", mail_id, str(row["reason"]))
    if owners != {row["account_id"]}:
        yield Finding(
            STORE, "a mail's changes are not its account's", mail_id, f"{owners}, not {row['account_id']}"
        )
    if row["state"] == "sent" and not sent:
        yield Finding(STORE, "a mail is marked as sent and is not in the folder", mail_id)
    customer = expected.accounts.get(row["account_id"])
    for one in sent:
        if customer is not None and one.to != customer.email:
            yield Finding(STORE, "a mail went to somebody else", mail_id, f"{one.to}, not {customer.email}")
    if len({one.text for one in sent}) > 1:
        yield Finding(STORE, "a repeat says something else", mail_id)


def _message_id(mail_id: str) -> str:
    """The part of the Message-ID before the @, as docs/notifications.md gives it: of the mail's id alone."""
    return hashlib.sha256(mail_id.encode()).hexdigest()[:32]


def repeats(data_dir: Path) -> int:
    """How many mails of the folder are there a second time or more."""
    return sum(count - 1 for count in Counter(one.message_id for one in kept(data_dir)).values())
