"""Evaluates the reconciliation checks every minute without starting a run. Not here: the checks (exchange_platform/checks.py)."""

import dagster as dg

from assets.checks import CHECKS
from exchange_platform.stores.checkpoints import StoreUnavailable
from resources.platform import PlatformResource


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Do the stores agree? Evaluates every asset check, without a run.",
)
def reconciliation_sensor(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.SensorResult:
    """Evaluate each check and report it on its asset."""
    events: list[dg.AssetCheckEvaluation] = []
    failed: list[str] = []
    for name, (asset, _, check) in CHECKS.items():
        try:
            outcome = check(platform)
        except StoreUnavailable as error:
            context.log.warning(f"{name} not evaluated: {error}")
            continue
        if not outcome.passed:
            failed.append(f"{name}: {outcome.description}")
        events.append(
            dg.AssetCheckEvaluation(
                check_name=name,
                asset_key=dg.AssetKey(asset),
                passed=outcome.passed,
                description=outcome.description,
                metadata=dict(outcome.figures),
            )
        )
    summary = "; ".join(failed) if failed else f"all {len(events)} checks passed"
    context.log.info(summary)
    return dg.SensorResult(skip_reason=f"FAILED {summary}" if failed else summary, asset_events=events)
