"""What Dagster and its run launcher know of a consumer's process, for those that run on other machines. What
is made of it is in exchange_platform/runs/liveness.py.
"""

import logging
from collections.abc import Sequence

import dagster as dg
from dagster._core.launcher.base import WorkerStatus

from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.process.process_life import Life
from exchange_platform.runs.liveness import MAX_START_S, Probe
from exchange_platform.stores.operational.consumers.consumers import ConsumerRow

_LIFE = {
    WorkerStatus.RUNNING: Life.LIVES,
    WorkerStatus.FAILED: Life.GONE,
    WorkerStatus.SUCCESS: Life.GONE,
    WorkerStatus.NOT_FOUND: Life.GONE,
}


_LOADED_AT_US = SYSTEM_CLOCK.now_us()
"""Since when this code server has had runs of its own: of those the death is reported within a second."""
_ON_THE_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def launcher_probe(instance: dg.DagsterInstance, log: logging.Logger) -> Probe:
    """Ask the run launcher (on ECS: for the run's task), then Dagster: a run that it counts as finished, and
    that says nothing, is gone.

    That Dagster counts a run as started says nothing of its process. Whoever can't be asked now says nothing
    either.
    """

    def life(consumer: ConsumerRow) -> Life:
        run = instance.get_run_by_id(consumer.run_id)
        if run is None:
            return Life.UNKNOWN
        return Life.GONE if run.is_finished else _by_the_launcher(instance, run, log)

    return life


def pending_runs(
    instance: dg.DagsterInstance,
    consumer: str,
    recent: Sequence[ConsumerRow],
    now_us: int,
    log: logging.Logger,
) -> list[dg.DagsterRun]:
    """The consumer's runs that wait for a slot or are starting, and have not begun as a consumer yet.

    A starting one counts as long as a start may take at all, if its launcher says that it runs. Without one
    that says so it counts if this code server launched it: its death would have been reported. One of an
    earlier code server may have died with that.
    """
    begun = {row.run_id for row in recent}
    filters = dg.RunsFilter(tags={"source": consumer}, statuses=_ON_THE_WAY)
    pending: list[dg.DagsterRun] = []
    for record in instance.get_run_records(filters):
        run = record.dagster_run
        if run.run_id in begun:
            continue
        if run.status is dg.DagsterRunStatus.QUEUED:
            pending.append(run)
            continue
        requested_us = int(record.create_timestamp.timestamp() * 1e6)
        if now_us - requested_us > MAX_START_S * 1e6:
            continue
        life = _by_the_launcher(instance, run, log)
        if life is Life.LIVES or (life is Life.UNKNOWN and requested_us >= _LOADED_AT_US):
            pending.append(run)
    return pending


def _by_the_launcher(instance: dg.DagsterInstance, run: dg.DagsterRun, log: logging.Logger) -> Life:
    launcher = instance.run_launcher
    if not launcher.supports_check_run_worker_health:
        return Life.UNKNOWN
    try:
        health = launcher.check_run_worker_health(run)
    except Exception as error:
        log.warning("run %s: its launcher does not say whether it runs: %s", run.run_id[:8], error)
        return Life.UNKNOWN
    return _LIFE.get(health.status, Life.UNKNOWN)


def end_run(instance: dg.DagsterInstance, run: dg.DagsterRun, log: logging.Logger) -> None:
    """Have the launcher stop a run whose process is not on this machine, if it can. Whether it did shows at
    the next look.
    """
    try:
        if instance.run_launcher.supports_check_run_worker_health:
            instance.run_launcher.terminate(run.run_id)
    except Exception as error:
        log.warning("run %s could not be stopped: %s", run.run_id[:8], error)
