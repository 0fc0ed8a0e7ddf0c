"""What Dagster and its run launcher know of a consumer's process, for those that run on other machines. What is made of it is in exchange_platform/liveness.py."""

import logging

import dagster as dg
from dagster._core.launcher.base import WorkerStatus

from exchange_platform.liveness import Probe
from exchange_platform.process_life import Life
from exchange_platform.stores.consumers import ConsumerRow

_LIFE = {
    WorkerStatus.RUNNING: Life.LIVES,
    WorkerStatus.FAILED: Life.GONE,
    WorkerStatus.SUCCESS: Life.GONE,
    WorkerStatus.NOT_FOUND: Life.GONE,
}


def launcher_probe(instance: dg.DagsterInstance, log: logging.Logger) -> Probe:
    """Ask the run launcher (on ECS: for the run's task), then Dagster: a run that it counts as finished, and that says nothing, is gone.

    That Dagster counts a run as started says nothing of its process. Whoever can't be asked now says nothing either.
    """

    def life(consumer: ConsumerRow) -> Life:
        run = instance.get_run_by_id(consumer.run_id)
        if run is None:
            return Life.UNKNOWN
        if run.is_finished:
            return Life.GONE
        launcher = instance.run_launcher
        if not launcher.supports_check_run_worker_health:
            return Life.UNKNOWN
        try:
            health = launcher.check_run_worker_health(run)
        except Exception as error:
            log.warning("run %s: its launcher does not say whether it runs: %s", run.run_id[:8], error)
            return Life.UNKNOWN
        return _LIFE.get(health.status, Life.UNKNOWN)

    return life


def end_run(instance: dg.DagsterInstance, run: dg.DagsterRun, log: logging.Logger) -> None:
    """Have the launcher stop a run whose process is not on this machine, if it can. Whether it did shows at the next look."""
    try:
        if instance.run_launcher.supports_check_run_worker_health:
            instance.run_launcher.terminate(run.run_id)
    except Exception as error:
        log.warning("run %s could not be stopped: %s", run.run_id[:8], error)
