"""The whole audit of a stopped platform: every comparison, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.faults.audit import exchange, lake, mails, money, operational, outbox, view
from tests.faults.audit.customers import Customer
from tests.faults.audit.expected import Expected
from tests.faults.audit.findings import Finding

JOURNAL = "simulated-exchange.sqlite"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is audited: the data directory of a platform that does not run any more, and what was taken down
    while it did.
    """

    data_dir: Path
    journal_copy: Path
    view: dict[str, view.Item]
    customers: list[Customer]
    repeated_mails: int = 0
    """How many mails may have been sent twice: those under way whenever a run that mails was killed."""


def save(evidence: Evidence, file: Path) -> None:
    """Keep what is in nobody's files, so that the audit can be repeated."""
    file.write_bytes(msgspec.json.encode(evidence, enc_hook=str))


def load(file: Path) -> Evidence:
    """What `save` kept."""
    return msgspec.json.decode(file.read_bytes(), type=Evidence, dec_hook=lambda kind, text: kind(text))


def audit(evidence: Evidence) -> list[Finding]:
    """Every difference between what happened and what is stored."""
    data_dir = evidence.data_dir
    told = exchange.read(evidence.journal_copy)
    expected = Expected(told, list(evidence.customers))
    findings = list(told.findings)
    with operational.opened(data_dir) as db:
        findings += operational.bets(db, expected)
        findings += operational.unfinished(db)
        findings += operational.orders(db, exchange.orders_taken(data_dir / JOURNAL))
        findings += operational.submissions(db, expected)
        findings += operational.deposits(db, expected)
        findings += operational.accounts(db, expected)
        findings += money.ledger(db, expected)
        findings += money.exposed(db, expected)
        findings += money.profiles(db, expected)
        findings += money.house(db, expected)
        findings += outbox.changes(db, expected)
        findings += outbox.channels(db)
        findings += mails.mails(db, data_dir, expected, repeats=evidence.repeated_mails)
        findings += view.profile_view(db, evidence.view, expected)
    with lake.opened(data_dir) as connection:
        findings += lake.executions(connection, expected)
        findings += lake.bet_history(connection, expected)
        findings += lake.windows(connection, expected)
    return findings


def figures(evidence: Evidence) -> str:
    """How much was audited, in a line."""
    told = exchange.read(evidence.journal_copy)
    versions = sum(map(len, told.bets.values()))
    placed = sum(len(one.bets) for one in evidence.customers)
    return (
        f"{len(told.bets)} bets in {versions} versions, {len(told.executions)} executions,"
        f" {len(evidence.customers)} customers with {placed} bets, {len(mails.kept(evidence.data_dir))} mails"
    )
