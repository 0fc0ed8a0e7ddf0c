"""Every penny: the ledger entry by entry, its sums on profiles, exposures by enumerated outcomes, and the
house's side.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal

from tests.faults.audit.expected import Expected
from tests.faults.audit.findings import Finding
from tests.faults.audit.worked_out import Position, exposures, positions, profile

STORE = "money"

_Key = tuple[str, int, str, str]
"""(reference, its version, cause, user)."""


def ledger(db: sqlite3.Connection, expected: Expected) -> Iterator[Finding]:
    """Each change of a balance has its entry, once, to the penny; no entry is of anything else."""
    wanted = _balance_entries(db, expected)
    stored: dict[_Key, int] = {}
    for row in db.execute("SELECT * FROM ledger WHERE account = 'balance'"):
        key = (row["reference"], row["reference_version"], row["cause"], row["user_id"])
        stored[key] = row["amount_minor"]
    for key in wanted.keys() | stored.keys():
        if wanted.get(key) != stored.get(key):
            yield Finding(
                STORE,
                "a ledger entry",
                " ".join(map(str, key)),
                f"is {stored.get(key)}, should be {wanted.get(key)}",
            )


def _balance_entries(db: sqlite3.Connection, expected: Expected) -> dict[_Key, int]:
    entries: dict[_Key, int] = {}
    for history in expected.histories.values():
        profit = commission = 0
        for bet in history:
            changed = expected.changes.get((bet.bet_id, bet.version))
            cause = changed.kind if changed is not None else "updated"
            if bet.profit_minor != profit:
                entries[bet.bet_id, bet.version, cause, bet.user_id] = bet.profit_minor - profit
            if bet.commission_minor != commission:
                entries[bet.bet_id, bet.version, "commission", bet.user_id] = (
                    commission - bet.commission_minor
                )
            profit, commission = bet.profit_minor, bet.commission_minor
    for row in db.execute("SELECT transfer_id, account_id, request_id FROM wallet_transfers"):
        amount = expected.deposits.get((row["account_id"], row["request_id"]))
        if amount is not None:
            entries[row["transfer_id"], 0, "deposit", row["account_id"]] = amount
    return entries


def exposed(db: sqlite3.Connection, expected: Expected) -> Iterator[Finding]:
    """Positions and exposures as the open bets give them, and the ledger's sums of them."""
    newest = list(expected.newest.values())
    wanted = positions(newest)
    stored = {
        (row["user_id"], row["market_id"], row["selection_id"], Decimal(row["handicap"])): Position(
            row["if_wins_minor"], row["if_loses_minor"]
        )
        for row in db.execute("SELECT * FROM positions")
    }
    for key in wanted.keys() | stored.keys():
        if wanted.get(key) != stored.get(key):
            values = f"is {stored.get(key)}, should be {wanted.get(key)}"
            yield Finding(STORE, "a position", " ".join(map(str, key)), values)
    amounts = exposures(newest)
    rows = {
        (row["user_id"], row["market_id"]): row["exposure_minor"]
        for row in db.execute("SELECT * FROM market_exposures")
    }
    entered = {
        (row[0], row[1]): row[2]
        for row in db.execute(
            "SELECT user_id, market_id, sum(amount_minor) FROM ledger WHERE account = 'exposure' GROUP BY 1, 2"
        )
    }
    for market in amounts.keys() | rows.keys() | entered.keys():
        right, row, sum_ = amounts.get(market, 0), rows.get(market, 0), entered.get(market, 0)
        if not right == row == sum_:
            values = f"{row} in market_exposures, {sum_} by the ledger, should be {right}"
            yield Finding(STORE, "an exposure", " ".join(market), values)


def profiles(db: sqlite3.Connection, expected: Expected) -> Iterator[Finding]:
    """Each profile is what its user's bets and deposits come to, in every sum and count; and its version
    counts each of them once.
    """
    exposed_to: Counter[str] = Counter()
    for (user_id, _), amount in exposures(expected.newest.values()).items():
        exposed_to[user_id] += amount
    versions: Counter[str] = Counter()
    for history in expected.histories.values():
        versions[history[0].user_id] += len(history)
    stored = {row["user_id"]: row for row in db.execute("SELECT * FROM profiles")}
    for user_id in expected.users:
        bets = expected.bets_of.get(user_id, [])
        deposited = expected.deposited(user_id)
        customer = expected.accounts.get(user_id)
        wanted: dict[str, int | None] = {
            **profile(bets, deposited),
            "exposure_minor": exposed_to[user_id],
            "version": versions[user_id] + (len(customer.deposits) if customer is not None else 0),
            "last_bet_at_us": max((bet.placed_at_us for bet in bets), default=None),
        }
        found = stored.pop(user_id, None)
        if found is None:
            yield Finding(STORE, "a profile is missing", user_id)
            continue
        wrong = [
            f"{name} is {found[name]}, should be {right}"
            for name, right in wanted.items()
            if found[name] != right
        ]
        if wrong:
            yield Finding(STORE, "a profile", user_id, ", ".join(wrong))
    for user_id in stored:
        yield Finding(STORE, "a profile of nobody", user_id)


def house(db: sqlite3.Connection, expected: Expected) -> Iterator[Finding]:
    """The house holds the opposite of what each customer gained: in cash, by market, in commission; together
    0.
    """
    wanted: dict[tuple[str, str], int] = defaultdict(int)
    wanted["cash", ""] = -sum(expected.deposits.values())
    for bet in expected.newest.values():
        wanted["clearing", bet.market_id] -= bet.profit_minor
        wanted["commission", bet.market_id] += bet.commission_minor
    stored = {
        (row["account"], row["market_id"]): row["amount_minor"]
        for row in db.execute("SELECT * FROM house_balances")
    }
    for key in wanted.keys() | stored.keys():
        if wanted.get(key, 0) != stored.get(key, 0):
            values = f"is {stored.get(key, 0)}, should be {wanted.get(key, 0)}"
            yield Finding(STORE, "the house's balance", " ".join(key), values)
    (customers,) = db.execute("SELECT coalesce(sum(balance_minor), 0) FROM profiles").fetchone()
    if customers + sum(stored.values()):
        yield Finding(
            STORE,
            "money is not conserved",
            "all balances",
            f"customers {customers} + house {sum(stored.values())}",
        )
