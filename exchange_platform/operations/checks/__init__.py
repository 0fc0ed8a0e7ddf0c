"""Do the stores agree with themselves and each other? Not here: who runs the checks, and when (sensors/,
assets/).

A check never cries wolf while data flows, and its cost a round does not grow with what is stored (rounds.py);
without a scope it looks at everything.
"""

from exchange_platform.operations.checks.databases import databases_whole
from exchange_platform.operations.checks.events import finished_events_take_no_bets, index_agrees
from exchange_platform.operations.checks.exchange import exchange_agrees
from exchange_platform.operations.checks.files import lake_files_whole
from exchange_platform.operations.checks.lake import lake_agrees, windows_agree
from exchange_platform.operations.checks.machine import machine_well
from exchange_platform.operations.checks.money import bets_conserved, money_conserved
from exchange_platform.operations.checks.orders import (
    books_balanced,
    orders_answered,
    orders_published,
    reservations_backed,
)
from exchange_platform.operations.checks.outcomes import (
    EVERY_EVENT,
    EVERYONE,
    CheckOutcome,
    Events,
    Users,
    some_users,
)
from exchange_platform.operations.checks.purges import purges_keep_up
from exchange_platform.operations.checks.rounds import AT_A_GLANCE, EVERYTHING, CheckScope, Rounds
from exchange_platform.operations.checks.spans import ALWAYS, CheckedSpan, span_before
from exchange_platform.operations.checks.stream import (
    consumer_alive,
    no_lost_spans,
    no_new_dead_letters,
    notifications_delivered,
)
from exchange_platform.operations.checks.view import view_agrees

__all__ = [
    "ALWAYS",
    "AT_A_GLANCE",
    "EVERYONE",
    "EVERYTHING",
    "EVERY_EVENT",
    "CheckOutcome",
    "CheckScope",
    "CheckedSpan",
    "Events",
    "Rounds",
    "Users",
    "bets_conserved",
    "books_balanced",
    "consumer_alive",
    "databases_whole",
    "exchange_agrees",
    "finished_events_take_no_bets",
    "index_agrees",
    "lake_agrees",
    "lake_files_whole",
    "machine_well",
    "money_conserved",
    "no_lost_spans",
    "no_new_dead_letters",
    "notifications_delivered",
    "orders_answered",
    "orders_published",
    "purges_keep_up",
    "reservations_backed",
    "some_users",
    "span_before",
    "view_agrees",
    "windows_agree",
]
