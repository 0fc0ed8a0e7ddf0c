"""What the platform deletes, and after how long. How it is deleted is the stores' (operational/purging.py and
its neighbours); Dagster's runs are ops/dagster_storage.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import Enum

from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.settings import Settings
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.accounts.accounts import purge_unconfirmed
from exchange_platform.stores.operational.accounts.limits import purge_idle
from exchange_platform.stores.operational.accounts.security_events import purge_events
from exchange_platform.stores.operational.bets.order_outbox import purge_published
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import Database, from_us
from exchange_platform.stores.operational.purge_rounds import Budget, Purged, PurgeRounds
from exchange_platform.stores.operational.purging import purge_changes, purge_mails
from exchange_platform.stores.operational.sqlite_space import give_back

DAY_US = 86_400_000_000
_GIVE_BACK_S = 30.0
_REWRITTEN_BYTES = 50_000_000
"""A database of an older release is rewritten once, so that it can shrink from then on: writers wait for less
than a second.
"""


class Purge(Enum):
    """Every purge, by the name of what it deletes."""

    RUNS = "runs"
    CONSUMERS = "consumers"
    ORDERS = "orders"
    CHANGES = "changes"
    MAILS = "mails"
    ACCOUNTS = "accounts"
    LIMITS = "limits"
    SECURITY_EVENTS = "security_events"
    LAKE_ORPHANS = "lake_orphans"


class PurgesFailed(Exception):
    """Some purges failed; the others were done."""

    def __init__(self, errors: Mapping[Purge, Exception]) -> None:
        super().__init__("; ".join(f"{purge.value}: {error}" for purge, error in errors.items()))
        self.errors = errors


def purge_database(
    settings: Settings, database: Database, clock: Clock = SYSTEM_CLOCK
) -> dict[Purge, Purged]:
    """Do a round of every purge of the operational database, and give the freed pages of a SQLite file back.

    One that fails does not keep the others from their round. Raises `PurgesFailed` at the end.
    """
    now_us = clock.now_us()

    def before_us(days: float) -> int:
        return now_us - int(days * DAY_US)

    def budget() -> Budget:
        return Budget(clock, settings.purge_budget_s)

    purges: dict[Purge, Callable[[], Purged]] = {
        Purge.CHANGES: lambda: purge_changes(
            database, before_us=before_us(settings.notifications_kept_days), budget=budget()
        ),
        Purge.MAILS: lambda: purge_mails(
            database, before_us=before_us(settings.notifications_kept_days), budget=budget()
        ),
        Purge.ORDERS: lambda: purge_published(
            database, before_us=before_us(settings.published_orders_kept_days), budget=budget()
        ),
        Purge.ACCOUNTS: lambda: purge_unconfirmed(
            database, before_us=before_us(settings.pending_account_days), budget=budget()
        ),
        Purge.LIMITS: lambda: purge_idle(database, now_us, budget()),
        Purge.SECURITY_EVENTS: lambda: purge_events(
            database, before_us=before_us(settings.security_events_kept_days), budget=budget()
        ),
        Purge.CONSUMERS: lambda: ConsumerRows(database).purge(
            before_us=before_us(settings.runs_kept_days), budget=budget()
        ),
    }
    rounds = PurgeRounds(database, clock)
    done: dict[Purge, Purged] = {}
    errors: dict[Purge, Exception] = {}
    for purge, work in purges.items():
        try:
            done[purge] = rounds.run(purge.value, work)
        except Exception as error:  # each store refuses in its own way
            errors[purge] = error
    if database.is_sqlite and database.engine.url.database:
        give_back(database.engine.url.database, Budget(clock, _GIVE_BACK_S), max_rewritten=_REWRITTEN_BYTES)
    if errors:
        raise PurgesFailed(errors)
    return done


def purge_lake_orphans(
    settings: Settings, database: Database, lake: Lake, clock: Clock = SYSTEM_CLOCK
) -> Purged:
    """Delete the files that writers left in the lake when they were killed. Raises `StoreUnavailable`."""

    def work() -> Purged:
        kept = timedelta(hours=settings.lake_orphans_kept_hours)
        return Purged(lake.delete_orphans(before=from_us(clock.now_us()) - kept))

    return PurgeRounds(database, clock).run(Purge.LAKE_ORPHANS.value, work)
