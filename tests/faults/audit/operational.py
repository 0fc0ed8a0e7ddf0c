"""The operational database against what should be there: bets, orders, submissions, deposits, accounts, dead
letters. Money lives in money.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.audit.expected import Expected
from tests.faults.audit.findings import Finding, differences
from tests.faults.audit.records import BET_FIELDS, Bet, of_columns

DATABASE = "operational.sqlite"
STORE = "operational database"


@contextmanager
def opened(data_dir: Path) -> Iterator[sqlite3.Connection]:
    """The operational database, read only."""
    db = sqlite3.connect(f"{(data_dir / DATABASE).absolute().as_uri()}?mode=ro", uri=True)
    db.row_factory = sqlite3.Row
    try:
        yield db
    finally:
        db.close()


def stored_bets(db: sqlite3.Connection) -> dict[str, Bet]:
    """The bets, by id."""
    return {row["bet_id"]: of_columns(Bet, dict(row)) for row in db.execute("SELECT * FROM bets")}


def bets(db: sqlite3.Connection, expected: Expected) -> Iterator[Finding]:
    """Each bet as the exchange left it, and no other."""
    stored = stored_bets(db)
    for bet_id, bet in expected.newest.items():
        found = stored.pop(bet_id, None)
        if found is None:
            yield Finding(STORE, "a bet is missing", f"bet {bet_id}", f"version {bet.version}, {bet.status}")
        elif differs := differences(bet, found, BET_FIELDS):
            yield Finding(STORE, "a bet differs", f"bet {bet_id}", differs)
    for bet_id, found in stored.items():
        yield Finding(STORE, "a bet that the exchange does not have", f"bet {bet_id}", found.status)


def unfinished(db: sqlite3.Connection) -> Iterator[Finding]:
    """Nothing waits for an answer, and nothing was buried."""
    for table, key in (("pending_bets", "bet_id"), ("replacements", "new_bet_id")):
        for row in db.execute(f"SELECT {key} FROM {table}"):
            yield Finding(STORE, f"unanswered in {table}", f"bet {row[0]}")
    for row in db.execute("SELECT order_id, bet_id FROM order_outbox WHERE published_at_us IS NULL"):
        yield Finding(STORE, "an order was never published", f"order {row[0]} of bet {row[1]}")
    for row in db.execute("SELECT source, shard, position, stage, reason FROM dead_letters"):
        yield Finding(STORE, "a dead letter", f"{row[0]} {row[1]} {row[2]}", f"{row[3]}: {row[4][:300]}")


def orders(db: sqlite3.Connection, taken: dict[str, str]) -> Iterator[Finding]:
    """Each order reached the exchange, and the exchange has no other."""
    known = {row[0]: row[1] for row in db.execute("SELECT order_id, bet_id FROM order_outbox")}
    for order_id in known.keys() - taken.keys():
        yield Finding(
            STORE, "an order never reached the exchange", f"order {order_id} of bet {known[order_id]}"
        )
    for order_id in taken.keys() - known.keys():
        yield Finding("exchange", "an order that nobody sent", f"order {order_id}", taken[order_id])


def submissions(db: sqlite3.Connection, expected: Expected) -> Iterator[Finding]:
    """Each acknowledged bet is its customer's, once, as it was asked for; and the customers have no other
    bets.
    """
    acknowledged: set[str] = set()
    known = {
        (row[0], row[1]): row[2]
        for row in db.execute("SELECT account_id, submission_id, bet_id FROM submissions")
    }
    for customer in expected.customers:
        for request in customer.unanswered:
            yield Finding("customers", "never answered", f"{customer.account_id} {request}")
        for submission_id, bet in customer.bets.items():
            acknowledged.add(bet.bet_id)
            found = known.get((customer.account_id, submission_id))
            if found != bet.bet_id:
                yield Finding(
                    STORE, "a submission", f"{submission_id} of bet {bet.bet_id}", f"stored: {found}"
                )
            newest = expected.newest.get(bet.bet_id)
            if newest is None:
                yield Finding("exchange", "never took an acknowledged bet", f"bet {bet.bet_id}")
                continue
            wanted = (customer.account_id, bet.market_id, bet.selection_id, bet.side, bet.stake_minor)
            has = (newest.user_id, newest.market_id, newest.selection_id, newest.side, newest.stake_minor)
            if wanted != has or bet.odds not in (None, newest.odds):
                yield Finding(
                    "exchange", "another bet than was asked for", f"bet {bet.bet_id}", f"{has}, not {wanted}"
                )
    for account_id in expected.accounts:
        for newest in expected.bets_of.get(account_id, ()):
            if newest.bet_id not in acknowledged:
                yield Finding(
                    "customers", "a bet that nobody asked for", f"bet {newest.bet_id} of {account_id}"
                )


def deposits(db: sqlite3.Connection, expected: Expected) -> Iterator[Finding]:
    """Each deposit once, and no other transfer."""
    stored = {
        (row["account_id"], row["request_id"]): (row["kind"], row["amount_minor"])
        for row in db.execute("SELECT * FROM wallet_transfers")
    }
    for key, amount in expected.deposits.items():
        found = stored.pop(key, None)
        if found != ("deposit", amount):
            yield Finding(STORE, "a deposit", " ".join(key), f"is {found}, should be {amount}")
    for key, found in stored.items():
        yield Finding(STORE, "a transfer that nobody made", " ".join(key), str(found))


def accounts(db: sqlite3.Connection, expected: Expected) -> Iterator[Finding]:
    """Each customer's account, confirmed where its customer confirmed it; and nobody else's is."""
    stored = {row["account_id"]: row for row in db.execute("SELECT * FROM accounts")}
    for customer in expected.customers:
        found = stored.pop(customer.account_id, None)
        if found is None:
            yield Finding(STORE, "an account is missing", customer.account_id, customer.email)
        elif found["email"] != customer.email or (customer.confirmed and found["state"] != "CONFIRMED"):
            values = f"{found['email']} is {found['state']}"
            yield Finding(STORE, "an account differs", customer.account_id, values)
    for account_id, found in stored.items():  # of a registration whose answer was lost
        if found["state"] != "PENDING":
            yield Finding(STORE, "an account of nobody", account_id, found["state"])
