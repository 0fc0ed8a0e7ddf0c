"""The audit of tests/faults/audit/: it passes a platform that made no mistake, and names each record that is
changed or deleted by hand.
"""

from __future__ import annotations

import ast
import copy
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.audit import lake
from tests.faults.audit.audit import JOURNAL, Evidence, audit, load, save
from tests.faults.audit.findings import in_words
from tests.faults.audit.operational import DATABASE
from tests.faults.audit.worked_out import Position, exposure
from tests.faults.audited_platform import CUSTOMER, audited_platform

AUDIT = Path(__file__).parent / "audit"
Damage = Callable[[Evidence], None]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, emulator_url: str) -> Evidence:
    """A platform that made no mistake."""
    return audited_platform(tmp_path_factory.mktemp("audited"), emulator_url)


@pytest.fixture
def evidence(sound: Evidence, tmp_path: Path) -> Evidence:
    """A copy of it, to be damaged."""
    data_dir = tmp_path / "data"
    shutil.copytree(sound.data_dir, data_dir)
    journal_copy = shutil.copy(sound.journal_copy, tmp_path)
    return replace(
        sound,
        data_dir=data_dir,
        journal_copy=Path(journal_copy),
        view=copy.deepcopy(sound.view),
        customers=copy.deepcopy(sound.customers),
    )


def test_a_platform_that_made_no_mistake_passes(sound: Evidence) -> None:
    findings = audit(sound)
    assert not findings, in_words(findings)


def test_saved_evidence_gives_the_same_audit(sound: Evidence, tmp_path: Path) -> None:
    save(sound, tmp_path / "evidence.json")
    assert load(tmp_path / "evidence.json") == sound


def test_the_sound_platform_has_everything_that_can_be_damaged(sound: Evidence) -> None:
    counts = {
        table: _first(sound.data_dir / DATABASE, f"SELECT count(*) FROM {table}")
        for table in ("bets", "ledger", "positions", "market_exposures", "house_balances", "mails")
    }
    assert min(counts.values()) > 0, counts
    settled = _first(sound.data_dir / DATABASE, "SELECT count(*) FROM bets WHERE status = 'SETTLED'")
    assert settled > 5


def _sql(statement: str) -> Damage:
    """A statement on the operational database that changes one row or more."""

    def damage(evidence: Evidence) -> None:
        with closing(sqlite3.connect(evidence.data_dir / DATABASE)) as db, db:
            assert db.execute(statement).rowcount == 1, "the statement is to change one row"

    return damage


def _lake(statement: str) -> Damage:
    """A statement on the lake."""

    def damage(evidence: Evidence) -> None:
        with lake.opened(evidence.data_dir, read_only=False) as connection:
            row = connection.execute(statement).fetchone()
            assert row == (1,), "the statement is to change one row"

    return damage


def _journal(statement: str) -> Damage:
    """A statement on the exchange's journal."""

    def damage(evidence: Evidence) -> None:
        with closing(sqlite3.connect(evidence.data_dir / JOURNAL)) as db, db:
            assert db.execute(statement).rowcount == 1

    return damage


def _copy(statement: str) -> Damage:
    """A statement on the auditor's copy of the journal."""

    def damage(evidence: Evidence) -> None:
        with closing(sqlite3.connect(evidence.journal_copy)) as db, db:
            assert db.execute(statement).rowcount == 1

    return damage


def _remove_mail(evidence: Evidence) -> None:
    sorted((evidence.data_dir / "mail").glob("*.eml"))[0].unlink()


def _repeat_mail(evidence: Evidence) -> None:
    mail = sorted((evidence.data_dir / "mail").glob("*.eml"))[0]
    shutil.copy(mail, mail.with_stem(f"again-{mail.stem}"))


def _readdress_mail(evidence: Evidence) -> None:
    mail = sorted((evidence.data_dir / "mail").glob("*.eml"))[0]
    mail.write_bytes(mail.read_bytes().replace(b"c1@customer", b"c2@customer"))


def _forge_mail(evidence: Evidence) -> None:
    mail = sorted((evidence.data_dir / "mail").glob("*.eml"))[0]
    forged = mail.read_bytes().replace(b"Message-ID: <", b"Message-ID: <0")
    mail.with_stem(f"forged-{mail.stem}").write_bytes(forged)


def _drop_item(evidence: Evidence) -> None:
    del evidence.view[CUSTOMER]


def _age_item(evidence: Evidence) -> None:
    evidence.view[CUSTOMER]["balance_minor"] -= 1


def _forget_bet_in_item(evidence: Evidence) -> None:
    evidence.view[CUSTOMER]["last_bets"] = "[]"


def _unasked_bet(evidence: Evidence) -> None:
    evidence.customers[0].bets.pop("s0")


def _unkept_promise(evidence: Evidence) -> None:
    bets = evidence.customers[0].bets
    bets["s9"] = replace(bets["s0"], bet_id="never-heard-of")


def _other_deposit(evidence: Evidence) -> None:
    evidence.customers[0].deposits["d1"] += 1


ONE = "(SELECT bet_id FROM bets WHERE status = 'SETTLED' AND profit_minor != 0 LIMIT 1)"
ENTRY = "(SELECT rowid FROM ledger WHERE account = 'balance' AND cause = 'settled' LIMIT 1)"
EXPOSURE = "(SELECT rowid FROM ledger WHERE account = 'exposure' LIMIT 1)"
CHANGE = "(SELECT max(sequence) - 5 FROM notification_outbox)"
POSITION = "(SELECT rowid FROM positions LIMIT 1)"
EXECUTION = "(SELECT min(execution_id) FROM executions)"
WINDOW = "rowid = (SELECT min(rowid) FROM odds_windows)"
MAIL = "(SELECT max(sequence) FROM mails)"


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_sql(f"DELETE FROM bets WHERE bet_id = {ONE}"), "operational database: a bet is missing"),
        (
            _sql(f"UPDATE bets SET version = version - 1 WHERE bet_id = {ONE}"),
            "operational database: a bet differs",
        ),
        (_sql(f"UPDATE bets SET profit_minor = profit_minor + 1 WHERE bet_id = {ONE}"), "a bet differs"),
        (
            _sql("UPDATE order_outbox SET published_at_us = NULL WHERE sequence = 1"),
            "an order was never published",
        ),
        (_sql("DELETE FROM order_outbox WHERE sequence = 1"), "exchange: an order that nobody sent"),
        (_sql("DELETE FROM submissions WHERE submission_id = 's1'"), "a submission"),
        (_sql("DELETE FROM wallet_transfers"), "a deposit"),
        (_sql("UPDATE accounts SET state = 'PENDING'"), "an account differs"),
        (_sql(f"DELETE FROM ledger WHERE rowid = {ENTRY}"), "money: a ledger entry"),
        (
            _sql(f"UPDATE ledger SET amount_minor = amount_minor - 1 WHERE rowid = {ENTRY}"),
            "money: a ledger entry",
        ),
        (
            _sql(f"UPDATE ledger SET amount_minor = amount_minor - 1 WHERE rowid = {EXPOSURE}"),
            "money: an exposure",
        ),
        (
            _sql(f"UPDATE positions SET if_wins_minor = if_wins_minor + 1 WHERE rowid = {POSITION}"),
            "money: a position",
        ),
        (_sql(f"DELETE FROM positions WHERE rowid = {POSITION}"), "money: a position"),
        (
            _sql(f"UPDATE profiles SET balance_minor = balance_minor + 1 WHERE user_id = '{CUSTOMER}'"),
            "not conserved",
        ),
        (_sql(f"UPDATE profiles SET version = version + 1 WHERE user_id = '{CUSTOMER}'"), "money: a profile"),
        (_sql(f"DELETE FROM profiles WHERE user_id = '{CUSTOMER}'"), "money: a profile is missing"),
        (
            _sql("UPDATE house_balances SET amount_minor = 0 WHERE account = 'cash'"),
            "money: the house's balance",
        ),
        (_sql(f"DELETE FROM notification_outbox WHERE sequence = {CHANGE}"), "outbox: a change is missing"),
        (
            _sql(f"UPDATE notification_outbox SET change = 'x' WHERE sequence = {CHANGE}"),
            "outbox: a change differs",
        ),
        (
            _sql("UPDATE checkpoints SET position = '1' WHERE sink = 'topic'"),
            "changes that a channel has not read",
        ),
        (_sql(f"DELETE FROM mails WHERE sequence = {MAIL}"), "mails: a mail is missing in the database"),
        (_sql(f"UPDATE mails SET state = 'dead' WHERE sequence = {MAIL}"), "mails: a mail is dead"),
        (
            _sql(
                "DELETE FROM mail_changes WHERE outbox_sequence = (SELECT min(outbox_sequence) FROM mail_changes)"
            ),
            "mails: a change in no mail",
        ),
        (_remove_mail, "marked as sent and is not in the folder"),
        (_repeat_mail, "mails: more repeats than are allowed"),
        (_readdress_mail, "mails: a mail went to somebody else"),
        (_forge_mail, "mails: a mail that nobody queued"),
        (_drop_item, "profile view: an item is missing"),
        (_age_item, "profile view: an item: c1: balance_minor"),
        (_forget_bet_in_item, "profile view: the newest bets of an item"),
        (_lake(f"DELETE FROM executions WHERE execution_id = {EXECUTION}"), "lake: an execution is missing"),
        (
            _lake(f"UPDATE executions SET stake = stake + 0.01 WHERE execution_id = {EXECUTION}"),
            "an execution differs",
        ),
        (
            _lake(f"INSERT INTO executions SELECT * FROM executions WHERE execution_id = {EXECUTION}"),
            "more than once",
        ),
        (
            _lake("DELETE FROM bet_history WHERE rowid = (SELECT max(rowid) FROM bet_history)"),
            "version is missing",
        ),
        (
            _lake("UPDATE bet_history SET reason = 'x' WHERE rowid = (SELECT max(rowid) FROM bet_history)"),
            "version differs",
        ),
        (_lake(f"UPDATE odds_windows SET stake = stake + 1 WHERE {WINDOW}"), "lake: a window"),
        (_lake(f"DELETE FROM odds_windows WHERE {WINDOW}"), "lake: a window is missing"),
        (
            _journal("DELETE FROM orders WHERE order_id = (SELECT min(order_id) FROM orders)"),
            "an order never reached the exchange",
        ),
        (
            _copy("DELETE FROM outbox WHERE sequence = (SELECT max(sequence) - 3 FROM outbox)"),
            "batches are missing",
        ),
        (_unasked_bet, "customers: a bet that nobody asked for"),
        (_unkept_promise, "exchange: never took an acknowledged bet"),
        (_other_deposit, "a deposit"),
    ],
)
@pytest.mark.long
def test_each_record_that_is_changed_or_deleted_is_named(
    evidence: Evidence, damage: Damage, named: str
) -> None:
    damage(evidence)
    findings = audit(evidence)
    assert any(named in str(finding) for finding in findings), in_words(findings) or "nothing was found"


def test_exposure_is_the_worst_of_every_outcome() -> None:
    assert exposure([Position(200, -100)], 1, 3) == 100
    assert exposure([Position(-300, 100)], 1, 3) == 300
    assert exposure([Position(50, -100), Position(-20, 10)], 1, 2) == 120
    assert exposure([Position(50, -100), Position(-20, 10)], 1, 3) == 120
    assert exposure([Position(10, -5), Position(10, -5), Position(10, -5)], 2, 3) == 0
    assert exposure([], 1, 3) == 0


def test_the_audit_shares_no_code_with_the_platform() -> None:
    for path in AUDIT.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for name in names:
                top = name.partition(".")[0]
                assert top in _MAY_BE_IMPORTED or name.startswith("tests.faults.audit"), (
                    f"{path.name}: {name}"
                )


_MAY_BE_IMPORTED = {
    *(
        "__future__",
        "ast",
        "collections",
        "contextlib",
        "dataclasses",
        "datetime",
        "decimal",
        "email",
        "functools",
    ),
    *(
        "hashlib",
        "importlib",
        "itertools",
        "json",
        "pathlib",
        "sqlite3",
        "sys",
        "threading",
        "typing",
        "zlib",
    ),
    *("boto3", "duckdb", "msgspec"),
}


def _first(database: Path, query: str) -> int:
    with closing(sqlite3.connect(database)) as db:
        return int(db.execute(query).fetchone()[0])
