"""Reports check evaluations outside of a run, so that the UI shows them as current. Not here: which,
or when.
"""

from collections.abc import Iterable, Mapping

import dagster as dg
from dagster import DagsterEvent, DagsterEventType
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned


def materialised_by(instance: dg.DagsterInstance, assets: Iterable[str]) -> dict[str, str]:
    """Asset -> the run that materialised it last, where there is one."""
    runs: dict[str, str] = {}
    for asset in assets:
        event = instance.get_latest_materialization_event(dg.AssetKey(asset))
        if event is not None and event.run_id:
            runs[asset] = event.run_id
    return runs


def report(
    instance: dg.DagsterInstance,
    evaluations: Iterable[dg.AssetCheckEvaluation],
    runs: Mapping[str, str],
) -> None:
    """Report each evaluation as the run's that last materialised its asset.

    A consumer run materialises every ten seconds, and the UI takes an evaluation that is older than the
    newest materialisation for none, unless both are of one run. Of several evaluations in a run the UI keeps
    the newest; the run's log keeps all, and is purged with the run.
    """
    told = list(evaluations)
    newest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [evaluation.asset_check_key for evaluation in told]
    )
    for evaluation in told:
        run_id = runs.get(evaluation.asset_key.to_user_string())
        run = instance.get_run_by_id(run_id) if run_id is not None else None
        if run is None:
            instance.report_runless_asset_event(evaluation)
            continue
        shown = newest.get(evaluation.asset_check_key)
        if shown is None or shown.run_id != run.run_id:
            # Somebody ran the check by hand since: a new entry takes the place of theirs.
            _report(instance, run, DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, evaluation)
        _report(instance, run, DagsterEventType.ASSET_CHECK_EVALUATION, evaluation)


def _report(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    kind: DagsterEventType,
    evaluation: dg.AssetCheckEvaluation,
) -> None:
    planned = kind is DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
    instance.report_dagster_event(
        DagsterEvent(
            event_type_value=kind.value,
            job_name=run.job_name,
            message=f"{evaluation.check_name}: {evaluation.description}",
            event_specific_data=AssetCheckEvaluationPlanned(
                asset_key=evaluation.asset_key, check_name=evaluation.check_name
            )
            if planned
            else evaluation,
        ),
        run_id=run.run_id,
    )
