"""The reconciliation checks as Dagster asset checks: run by a sensor every minute, or from the UI. Not here: what they check."""

import time
from collections.abc import Callable, Mapping

import dagster as dg

from exchange_platform import checks
from exchange_platform.clock import SYSTEM_CLOCK
from exchange_platform.stores.consumers import ConsumerRows
from exchange_platform.streams.exchange_bets import EXCHANGE_BETS
from resources.platform import PlatformResource

Check = Callable[[PlatformResource], checks.CheckOutcome]


def _money_conserved(platform: PlatformResource) -> checks.CheckOutcome:
    return checks.money_conserved(platform.database)


def _bets_conserved(platform: PlatformResource) -> checks.CheckOutcome:
    return checks.bets_conserved(platform.database)


def _lake_agrees(platform: PlatformResource) -> checks.CheckOutcome:
    with platform.lake() as lake:
        return checks.lake_agrees(platform.database, lake, SYSTEM_CLOCK, wait=time.sleep)


def _windows_agree(platform: PlatformResource) -> checks.CheckOutcome:
    with platform.lake() as lake:
        return checks.windows_agree(lake)


def _no_new_dead_letters(platform: PlatformResource) -> checks.CheckOutcome:
    return checks.no_new_dead_letters(platform.database, SYSTEM_CLOCK)


def _consumer_alive(platform: PlatformResource) -> checks.CheckOutcome:
    return checks.consumer_alive(
        ConsumerRows(platform.database), EXCHANGE_BETS, platform.settings, SYSTEM_CLOCK
    )


CHECKS: Mapping[str, tuple[str, str, Check]] = {
    "money_conserved": (
        "profiles",
        "Every profile's balance and exposure are the sums of its ledger entries.",
        _money_conserved,
    ),
    "bets_conserved": (
        "bets",
        "stake = matched + remaining + lapsed + cancelled + voided; profiles count the bets there are.",
        _bets_conserved,
    ),
    "no_new_dead_letters": (
        "bets",
        "No record died in the last ten minutes that was not replayed since.",
        _no_new_dead_letters,
    ),
    "consumer_alive": ("bets", "The stream has a live consumer without trouble.", _consumer_alive),
    "lake_agrees": (
        "bet_history",
        "The lake and the operational database know the same bets.",
        _lake_agrees,
    ),
    "windows_agree": (
        "odds_windows",
        "Every closed window is what its executions give now.",
        _windows_agree,
    ),
}
"""Name -> (asset, description, check)."""


def _asset_check(name: str, asset: str, description: str, check: Check) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=asset, name=name, description=description)
    def run(platform: PlatformResource) -> dg.AssetCheckResult:
        outcome = check(platform)
        return dg.AssetCheckResult(
            passed=outcome.passed, description=outcome.description, metadata=dict(outcome.figures)
        )

    return run


asset_checks = [_asset_check(name, *parts) for name, parts in CHECKS.items()]
