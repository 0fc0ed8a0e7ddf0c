"""Dagster's own queue under the deployments' limits: who may run, and who comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.test_utils import create_run_for_test
from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon

from deployments.local import defs
from exchange_platform.operations.run_slots import SUPERVISED
from exchange_platform.settings import Settings
from exchange_platform.streams.engine.sharing import consumer_names
from resources.run_priorities import LAKE_WRITERS

DAGSTER_YAML = Path(__file__).parents[2] / "deployments" / "dagster.yaml"
ORIGIN = RemoteRepositoryOrigin(GrpcServerCodeLocationOrigin("localhost", 1), "__repository__")
JOBS = {
    "exchange-bets": "consume_bets",
    "exchange-feed": "consume_exchange_feed",
    "notifications": "notify_users",
    "confirmations": "confirm_accounts",
}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance with the limits of one machine."""
    limits = {
        name: part for name, part in yaml.safe_load(DAGSTER_YAML.read_text()).items() if name != "telemetry"
    }
    with dg.instance_for_test(overrides=limits, temp_dir=str(tmp_path)) as instance:
        yield instance


def queued(instance: dg.DagsterInstance, job: str, status: str = "QUEUED", **tags: str) -> str:
    """A run of the job in the queue, with the tags that its job gives it."""
    own = dict(defs.resolve_job_def(job).run_tags) if job in {*JOBS.values(), "maintain_lake"} else {}
    run = create_run_for_test(
        instance,
        job_name=job,
        status=dg.DagsterRunStatus[status],
        tags={**own, **tags},
        remote_job_origin=RemoteJobOrigin(ORIGIN, job),
    )
    return str(run.run_id)


def dequeued(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """The runs that the queue would launch now, in its order."""
    daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)
    return daemon._get_runs_to_dequeue(instance, instance.get_concurrency_config(), None)


def test_seven_consumers_and_their_successors_run_beside_a_backfill_of_a_thousand_days(
    instance: dg.DagsterInstance,
) -> None:
    settings = Settings(bets_consumers=7)
    for _ in range(30):
        queued(instance, "backfilled", **{"dagster/backfill": "a-backfill"})
    names = {source: consumer_names(settings, source) for source in SUPERVISED}
    for source, consumers in names.items():
        for consumer in consumers:
            queued(instance, JOBS[source], "STARTED", source=consumer)
            queued(instance, JOBS[source], source=consumer)
    launched = dequeued(instance)
    successors = [run.tags["source"] for run in launched if "source" in run.tags]
    assert sorted(successors) == sorted(name for consumers in names.values() for name in consumers)
    assert [run.job_name for run in launched][len(successors) :] == ["backfilled"]


def test_consumers_come_before_housekeeping_and_that_before_backfills(instance: dg.DagsterInstance) -> None:
    queued(instance, "backfilled", **{"dagster/backfill": "a-backfill"})
    for job in ("maintain_lake", "consume_bets"):
        queued(instance, job)
    assert [run.job_name for run in dequeued(instance)] == ["consume_bets", "maintain_lake", "backfilled"]


def test_a_small_job_runs_once_at_a_time(instance: dg.DagsterInstance) -> None:
    for _ in range(3):
        queued(instance, "maintain_lake")
    assert Counter(run.job_name for run in dequeued(instance)) == {"maintain_lake": 1}


def test_only_who_writes_the_lake_beside_the_consumers_is_in_its_pool() -> None:
    pools = {
        job.name: {
            node.definition.pool for node in job.graph.nodes if isinstance(node.definition, dg.OpDefinition)
        }
        for job in map(defs.resolve_job_def, (*JOBS.values(), "maintain_lake"))
    }
    assert pools == {job: {None} for job in JOBS.values()} | {"maintain_lake": {LAKE_WRITERS}}
    windows = defs.resolve_assets_def("odds_windows")
    assert windows.op.pool == LAKE_WRITERS
    assert windows.backfill_policy == dg.BackfillPolicy.multi_run(31)
