"""Evaluates the reconciliation checks every minute without starting a run. Not here: the checks (exchange_platform/checks.py)."""

import dagster as dg
from dagster import DagsterEvent, DagsterEventType

from assets.checks import CHECKS
from assets.exchange_bets import consume_bets
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.consumers import ConsumerRows
from exchange_platform.streams.exchange_bets import EXCHANGE_BETS
from resources.platform import PlatformResource


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Do the stores agree? Evaluates every asset check, without a run.",
)
def reconciliation_sensor(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.SensorResult:
    """Evaluate each check and report it on its asset."""
    evaluations: list[dg.AssetCheckEvaluation] = []
    failed: list[str] = []
    for name, (asset, _, check) in CHECKS.items():
        try:
            outcome = check(platform)
        except StoreUnavailable as error:
            context.log.warning(f"{name} not evaluated: {error}")
            continue
        if not outcome.passed:
            failed.append(f"{name}: {outcome.description}")
        evaluations.append(
            dg.AssetCheckEvaluation(
                check_name=name,
                asset_key=dg.AssetKey(asset),
                passed=outcome.passed,
                description=outcome.description,
                metadata=dict(outcome.figures),
            )
        )
    summary = "; ".join(failed) if failed else f"all {len(evaluations)} checks passed"
    context.log.info(summary)
    reason = f"FAILED {summary}" if failed else summary
    if _report_in_consumer_run(context, platform, evaluations):
        return dg.SensorResult(skip_reason=reason)
    return dg.SensorResult(skip_reason=reason, asset_events=evaluations)


def _report_in_consumer_run(
    context: dg.SensorEvaluationContext,
    platform: PlatformResource,
    evaluations: list[dg.AssetCheckEvaluation],
) -> bool:
    """Report the evaluations as the newest consumer run's; says whether there is such a run.

    The run materialises its assets every ten seconds, and the UI shows a check as not evaluated when its evaluation is
    older than that, unless both are of one run.
    """
    newest = ConsumerRows(platform.database).newest(EXCHANGE_BETS)
    if newest is None or context.instance.get_run_by_id(newest.run_id) is None:
        return False
    for evaluation in evaluations:
        context.instance.report_dagster_event(
            DagsterEvent(
                event_type_value=DagsterEventType.ASSET_CHECK_EVALUATION.value,
                job_name=consume_bets.name,
                message=f"{evaluation.check_name}: {evaluation.description}",
                event_specific_data=evaluation,
            ),
            run_id=newest.run_id,
        )
    return True
