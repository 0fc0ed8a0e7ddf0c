"""The reconciliation checks as Dagster asset checks. Not here: what they check (operations/checks/)."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import dagster as dg

from exchange_platform.confirmation.mail_requests import CONFIRMATIONS
from exchange_platform.operations import checks
from exchange_platform.operations.checks import EVERYTHING, CheckOutcome, CheckScope
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.stores.checkpoints import StoreDamaged
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.bets.outbox import NOTIFICATIONS
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.streams.sources.names import EXCHANGE_BETS, EXCHANGE_FEED
from exchange_platform.submission.exchange_asking import ExchangeUnavailable
from resources.failed_runs import no_failed_runs
from resources.platform import PlatformResource
from resources.run_sizes import SENSOR_LAKE_MB


@dataclass(frozen=True, slots=True)
class Check:
    """A check, the asset that it is shown on, and what an operator does when it fails."""

    name: str
    asset: str
    description: str
    remedy: str
    ask: Callable[[PlatformResource, CheckScope], CheckOutcome]
    ask_dagster: Callable[[dg.DagsterInstance], CheckOutcome] | None = None
    """Of a check that looks at Dagster itself, in place of `ask`."""

    def outcome(
        self, platform: PlatformResource, scope: CheckScope, instance: dg.DagsterInstance
    ) -> CheckOutcome:
        """Evaluate it: a damaged store that it reads fails it. Raises what the stores do otherwise."""
        try:
            return self.ask(platform, scope) if self.ask_dagster is None else self.ask_dagster(instance)
        except StoreDamaged as damage:
            return CheckOutcome(False, str(damage), looked=False)

    @property
    def key(self) -> str:
        """One text for one check of one asset."""
        return f"{self.asset}/{self.name}"

    def evaluation(self, outcome: CheckOutcome) -> dg.AssetCheckEvaluation:
        """The outcome as Dagster's event."""
        return dg.AssetCheckEvaluation(
            check_name=self.name,
            asset_key=dg.AssetKey(self.asset),
            passed=outcome.passed,
            description=outcome.description,
            metadata=self.metadata(outcome),
        )

    def metadata(self, outcome: CheckOutcome) -> dict[str, dg.MetadataValue]:
        """The outcome's figures; of a failure also what is wrong and what to do."""
        shown: dict[str, dg.MetadataValue] = {
            name: dg.MetadataValue.text(value)
            if isinstance(value, str)
            else dg.MetadataValue.int(value)
            if isinstance(value, int)
            else dg.MetadataValue.float(value)
            for name, value in outcome.figures.items()
        }
        if not outcome.passed:
            shown["what_to_do"] = dg.MetadataValue.text(self.remedy)
            if outcome.wrong:
                shown["wrong"] = dg.MetadataValue.json(list(outcome.wrong))
        return shown


def _no_platform_needed(_platform: PlatformResource, _scope: CheckScope) -> CheckOutcome:
    raise NotImplementedError("this check asks Dagster: see Check.outcome")


def _lake(platform: PlatformResource, scope: CheckScope) -> AbstractContextManager[Lake]:
    """The lake, in the memory of a code server (a sensor looks at a share), or of a run (at all)."""
    return platform.lake(memory_mb=None if scope is EVERYTHING else SENSOR_LAKE_MB)


def _money_conserved(platform: PlatformResource, scope: CheckScope) -> CheckOutcome:
    return checks.money_conserved(platform.database, scope.users)


def _bets_conserved(platform: PlatformResource, scope: CheckScope) -> CheckOutcome:
    return checks.bets_conserved(platform.database, scope.users)


def _lake_agrees(platform: PlatformResource, scope: CheckScope) -> CheckOutcome:
    with _lake(platform, scope) as lake:
        return checks.lake_agrees(platform.database, lake, scope.placed)


def _exchange_agrees(platform: PlatformResource, scope: CheckScope) -> CheckOutcome:
    progress = scope.reached("exchange_agrees")
    if platform.settings.exchange_url is None:
        none = "not compared: no exchange is configured that could give a report (EXCHANGE_URL)"
        return CheckOutcome(False, none, compared=False, applies=False)
    try:
        with platform.exchange() as exchange, _lake(platform, scope) as lake:
            return checks.exchange_agrees(platform.database, lake, exchange, SYSTEM_CLOCK, progress)
    except ExchangeUnavailable as error:
        return CheckOutcome(False, f"not compared: {error}", compared=False)


def _view_agrees(platform: PlatformResource, scope: CheckScope) -> CheckOutcome:
    with platform.profile_view() as view:
        return checks.view_agrees(platform.database, view, scope.reached("view_agrees"), wait=time.sleep)


def _windows_agree(platform: PlatformResource, scope: CheckScope) -> CheckOutcome:
    with _lake(platform, scope) as lake:
        return checks.windows_agree(lake, scope.hours)


def _lake_files_whole(platform: PlatformResource, scope: CheckScope) -> CheckOutcome:
    memory_mb = None if scope is EVERYTHING else SENSOR_LAKE_MB
    with platform.lake(read_only=False, memory_mb=memory_mb) as lake:
        return checks.lake_files_whole(lake, SYSTEM_CLOCK, everything=scope.whole_files)


def _databases_whole(platform: PlatformResource, scope: CheckScope) -> CheckOutcome:
    return checks.databases_whole(platform.settings, SYSTEM_CLOCK, everything=scope.whole_files)


def _index_agrees(platform: PlatformResource, scope: CheckScope) -> CheckOutcome:
    with platform.event_index() as index:
        return checks.index_agrees(platform.database, index, scope.events, wait=time.sleep)


def _finished_events_take_no_bets(platform: PlatformResource, _scope: CheckScope) -> CheckOutcome:
    return checks.finished_events_take_no_bets(platform.database, SYSTEM_CLOCK)


def _no_new_dead_letters(platform: PlatformResource, _scope: CheckScope) -> CheckOutcome:
    return checks.no_new_dead_letters(platform.database, SYSTEM_CLOCK)


def _orders_published(platform: PlatformResource, _scope: CheckScope) -> CheckOutcome:
    return checks.orders_published(platform.database, SYSTEM_CLOCK)


def _orders_answered(platform: PlatformResource, _scope: CheckScope) -> CheckOutcome:
    return checks.orders_answered(platform.database, platform.settings, SYSTEM_CLOCK)


def _reservations_backed(platform: PlatformResource, scope: CheckScope) -> CheckOutcome:
    return checks.reservations_backed(platform.database, scope.users)


def _books_balanced(platform: PlatformResource, _scope: CheckScope) -> CheckOutcome:
    return checks.books_balanced(platform.database)


def _machine_well(platform: PlatformResource, _scope: CheckScope) -> CheckOutcome:
    return checks.machine_well(platform.settings)


def _notifications_delivered(platform: PlatformResource, _scope: CheckScope) -> CheckOutcome:
    return checks.notifications_delivered(platform.database, SYSTEM_CLOCK)


def _purges_keep_up(platform: PlatformResource, _scope: CheckScope) -> CheckOutcome:
    return checks.purges_keep_up(platform.database, platform.settings, SYSTEM_CLOCK)


def consumer_alive(source: str, asset: str, job: str) -> Check:
    """The check that a source has a live consumer, shown on one of the assets that `job` keeps."""

    def ask(platform: PlatformResource, _scope: CheckScope) -> CheckOutcome:
        return checks.consumer_alive(ConsumerRows(platform.database), source, platform.settings, SYSTEM_CLOCK)

    return Check(
        "consumer_alive",
        asset,
        f"The source {source} has a live consumer, and no store or stream troubles it.",
        f"The newest tick of the source's sensor says what it does about it; the newest run of {job} says why in its log.",
        ask,
    )


CONSUMERS_ALIVE = (
    consumer_alive(EXCHANGE_BETS, "bets", "consume_bets"),
    consumer_alive(EXCHANGE_FEED, "events", "consume_exchange_feed"),
    consumer_alive(NOTIFICATIONS, "notifications", "notify_users"),
    consumer_alive(CONFIRMATIONS, "confirmation_mails", "confirm_accounts"),
)
"""One a source."""


def no_lost_spans(source: str, asset: str) -> Check:
    """The check that no record of a source was gone before it was read, shown on `asset`."""

    def ask(platform: PlatformResource, _scope: CheckScope) -> CheckOutcome:
        return checks.no_lost_spans(platform.database, source)

    return Check(
        "no_lost_spans",
        asset,
        f"No record of the source {source} was gone before it was read.",
        "Have the exchange publish that span again (repeats change nothing), then: exchange-platform lost-spans acknowledge ID.",
        ask,
    )


LOST_SPANS = (no_lost_spans(EXCHANGE_BETS, "bets"), no_lost_spans(EXCHANGE_FEED, "events"))
"""One a source whose records can expire."""

NO_FAILED_RUNS = Check(
    "no_failed_runs",
    "bets",
    "No run of Dagster failed in the last ten minutes.",
    "Open the run: its log says why. What is to be repeated (a replay, a recomputed day) has to be launched again; consumers are by their sensors.",
    _no_platform_needed,
    ask_dagster=no_failed_runs,
)
NO_NEW_DEAD_LETTERS = Check(
    "no_new_dead_letters",
    "bets",
    "No record died in the last ten minutes that was not replayed since.",
    "See the reasons: exchange-platform dead-letters list. Once the cause is fixed: dead-letters replay --all.",
    _no_new_dead_letters,
)
MONEY_CONSERVED = Check(
    "money_conserved",
    "profiles",
    "Every profile's balance and exposure are the sums of its ledger, every market's exposure its worst outcome.",
    "Somebody else wrote to the database. Stop writers and compare the users' ledgers with their bets.",
    _money_conserved,
)
BETS_CONSERVED = Check(
    "bets_conserved",
    "bets",
    "stake = matched + remaining + lapsed + cancelled + voided; profiles and positions are the sums of the bets.",
    "Somebody else wrote to the database. Stop writers and compare the users' bets with bet_history in the lake.",
    _bets_conserved,
)
LAKE_AGREES = Check(
    "lake_agrees",
    "bet_history",
    "The newest version of each bet is the same in the lake and in the operational database.",
    "Rows were lost or changed in one of the two: compare those bets with bet_history.",
    _lake_agrees,
)
EXCHANGE_AGREES = Check(
    "exchange_agrees",
    "executions",
    "Every execution and bet version that the exchange reports is in the lake, and its bets are in the operational database.",
    "Launch the job request_missing: the exchange publishes again what is missing, as long as it holds it.",
    _exchange_agrees,
)
VIEW_AGREES = Check(
    "view_agrees",
    "profile_view",
    "Every user's item in the profile view is the user's profile.",
    "Launch the job request_missing: it writes the users' items again from the operational database.",
    _view_agrees,
)
WINDOWS_AGREE = Check(
    "windows_agree",
    "odds_windows",
    "Every closed window is what its executions give now.",
    "Materialise odds_windows for the day: its windows are recomputed from its executions.",
    _windows_agree,
)

LAKE_FILES_WHOLE = Check(
    "lake_files_whole",
    "executions",
    "Every file of the lake is whole, and what damaged ones held was restored or its loss accepted.",
    "exchange-platform restore-lake takes damaged files out, restores what can be had, and counts by market what can't.",
    _lake_files_whole,
)

DATABASES_WHOLE = Check(
    "databases_whole",
    "bets",
    "Every SQLite file of the data directory is whole.",
    "The description says which file is not, and what to do; `exchange-platform doctor` looks again.",
    _databases_whole,
)

NOTIFICATIONS_DELIVERED = Check(
    "notifications_delivered",
    "notifications",
    "Every change of a bet was mailed and published, but for those of the last minute and those that wait for their time.",
    "consumer_alive and the run's `trouble` say what it waits for: the mail server, the topic. Changes wait until it is back.",
    _notifications_delivered,
)

RESERVATIONS_BACKED = Check(
    "reservations_backed",
    "profiles",
    "Money is set aside for live bets alone.",
    "Somebody else wrote to the database. Compare the users' market_exposures with their live bets.",
    _reservations_backed,
)
BOOKS_BALANCED = Check(
    "books_balanced",
    "profiles",
    "Customers' balances and the house's add up to 0; a market that is done with owes nobody.",
    "Compare the market's bets with the exchange's: one that was matched may be a dead letter, or was never reported.",
    _books_balanced,
)
ORDERS_PUBLISHED = Check(
    "orders_published",
    "bets",
    "No order to the exchange waits in the outbox.",
    "The stream bet-orders is away, or no process with a relay is alive: see the API's log, then exchange-platform doctor.",
    _orders_published,
)
ORDERS_ANSWERED = Check(
    "orders_answered",
    "bets",
    "No bet is PENDING for longer than the limit.",
    "Is the exchange alive? The job reconcile_orders asks it for each such bet; launch it, and read what it says.",
    _orders_answered,
)

INDEX_AGREES = Check(
    "index_agrees",
    "event_index",
    "The event index holds as many events as the operational database, each in its newest version.",
    "Launch the job rebuild_event_index: it fills a new index from the database while searches go on in the old one.",
    _index_agrees,
)
FINISHED_EVENTS_TAKE_NO_BETS = Check(
    "finished_events_take_no_bets",
    "events",
    "No market is open whose event has been over for a minute.",
    "The exchange reported the event's end and not of its markets': compare those markets with the exchange.",
    _finished_events_take_no_bets,
)

MACHINE_WELL = Check(
    "machine_well",
    "bets",
    "The machine of a local platform has room on its disk, limits and memory that suffice, and no program keeps dying.",
    "The description says what is missing and how to get it; `exchange-platform doctor` looks again.",
    _machine_well,
)

PURGES_KEEP_UP = Check(
    "purges_keep_up",
    "bets",
    "No purge left anything for days that should be gone, and each has had its hourly round.",
    "Launch the job purge: it goes on where the last round ended. A round that always leaves something needs a longer PURGE_BUDGET_S; one that"
    " failed says why in its log; without rounds, is the schedule purge_schedule on, and does the daemon run?",
    _purges_keep_up,
)

BY_THEMSELVES = (EXCHANGE_AGREES, VIEW_AGREES)
"""These take a share each round by themselves, and say how far they have come."""

OF_USERS = (MONEY_CONSERVED, BETS_CONSERVED, RESERVATIONS_BACKED)
ORDERS = (ORDERS_PUBLISHED, ORDERS_ANSWERED)
"""The first look at the users of a scope, the second at the orders on their way, and cost little."""

ALL = (
    *CONSUMERS_ALIVE,
    *LOST_SPANS,
    NO_FAILED_RUNS,
    NO_NEW_DEAD_LETTERS,
    MACHINE_WELL,
    *ORDERS,
    *OF_USERS,
    BOOKS_BALANCED,
    LAKE_FILES_WHOLE,
    DATABASES_WHOLE,
    LAKE_AGREES,
    EXCHANGE_AGREES,
    VIEW_AGREES,
    WINDOWS_AGREE,
    INDEX_AGREES,
    FINISHED_EVENTS_TAKE_NO_BETS,
    NOTIFICATIONS_DELIVERED,
    PURGES_KEEP_UP,
)


def _asset_check(check: Check) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=check.asset, name=check.name, description=check.description)
    def everything(context: dg.AssetCheckExecutionContext, platform: PlatformResource) -> dg.AssetCheckResult:
        outcome = check.outcome(platform, EVERYTHING, context.instance)
        return dg.AssetCheckResult(
            passed=outcome.passed,
            severity=dg.AssetCheckSeverity.ERROR if outcome.compared else dg.AssetCheckSeverity.WARN,
            description=outcome.description,
            metadata=check.metadata(outcome),
        )

    return everything


asset_checks = [_asset_check(check) for check in ALL]
