"""Sensors that keep a source's consumer runs alive: one run, or one a share. They read heartbeats, never the
stream. Not here: the decision (supervision.py).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.target import ExecutableDefinition

from exchange_platform.operations.supervision import AllRequests, abandoned, decide
from exchange_platform.process.clock import SYSTEM_CLOCK, elapsed_s
from exchange_platform.process.process_life import Life, kill, life_of
from exchange_platform.runs.liveness import life_by, this_machine
from exchange_platform.settings import Settings
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.consumers.consumers import ConsumerRow, ConsumerRows
from exchange_platform.streams.engine.sharing import WHOLE, Share, shares
from resources.platform import PlatformResource
from sensors.run_life import end_run, launcher_probe, pending_runs

_HEARD_OF_WITHIN_S = 60.0
_WITH_A_PLACE = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def supervising_sensor(
    name: str,
    source: str,
    job: ExecutableDefinition,
    what: str,
    *,
    configured: Callable[[Share], Mapping[str, Any]] = lambda _share: {},
) -> dg.SensorDefinition:
    """The sensor `name`, which keeps a run of `job` alive for each share of `source`: its consumer. `what`
    completes its description.

    `configured` is the configuration that a share's run is given.
    """

    @dg.sensor(
        name=name,
        job=job,
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Keeps {what} alive: starts a run where there is none, a successor before the run ends or when it died.",
    )
    def supervise(
        context: dg.SensorEvaluationContext, platform: PlatformResource
    ) -> dg.SensorResult | dg.SkipReason:
        """Look at the newest consumers' heartbeats and request the runs that are needed."""
        settings, rows = platform.settings, ConsumerRows(platform.database)
        requests = AllRequests.from_text(context.cursor)
        wanted: list[dg.RunRequest] = []
        reasons: list[str] = []
        for share in shares(settings, source):
            consumer = share.consumer_of(source)
            try:
                recent = rows.recent(consumer)
            except StoreUnavailable as error:
                return dg.SkipReason(f"TROUBLE: {error}")
            now_us = SYSTEM_CLOCK.now_us()
            lives = _lives(context, recent, now_us, settings)
            mine = requests.of(consumer)
            pending = (
                pending_runs(context.instance, consumer, recent, now_us, context.log) if mine.attempts else []
            )
            decision = decide(
                consumer, recent, mine, now_us=now_us, settings=settings, lives=lives, pending=len(pending)
            )
            requests = requests.replaced(consumer, decision.requests)
            gone = abandoned(recent, decision.requests, now_us=now_us, settings=settings, lives=lives)
            waits = any(run.status is dg.DagsterRunStatus.QUEUED for run in pending)
            if gone or waits or decision.requests.attempts > 1:
                _end(context, consumer, gone, recent)
            reasons.append(decision.reason if share == WHOLE else f"{share.index + 1}: {decision.reason}")
            if decision.run_key is not None:
                context.log.info(reasons[-1])
                # Each share has a limit of its own on runs at once (dagster.yaml).
                tags = {"reason": decision.reason[:200], "source": consumer}
                wanted.append(
                    dg.RunRequest(run_key=decision.run_key, tags=tags, run_config=dict(configured(share)))
                )
        context.update_cursor(requests.to_text())
        return dg.SensorResult(run_requests=wanted) if wanted else dg.SkipReason("\n".join(reasons))

    return supervise


def _lives(
    context: dg.SensorEvaluationContext, recent: Sequence[ConsumerRow], now_us: int, settings: Settings
) -> dict[str, Life]:
    """What is known of the processes of those that say that they run: by this machine, and of those that are
    silent by the launcher and Dagster.
    """
    elsewhere = launcher_probe(context.instance, context.log)
    lives: dict[str, Life] = {}
    for row in recent:
        if row.state != "running":
            continue
        silent_s = elapsed_s(row.heartbeat_at_us, now_us)
        probes = [this_machine, elsewhere] if silent_s >= settings.stale_heartbeat_s else [this_machine]
        lives[row.run_id] = life_by(probes, row)
    return lives


def _end(
    context: dg.SensorEvaluationContext,
    consumer: str,
    gone: Collection[str],
    recent: Sequence[ConsumerRow],
) -> None:
    """End runs and let Dagster know: one that died with its code server would be counted as running for ever.

    These are the runs in `gone`, whose processes do not run or are hung, and those that began a while ago and
    have never been heard of. A hung process is killed, since it may hold what its successor waits for.
    """
    processes = {row.run_id: row.process for row in recent}
    filters = dg.RunsFilter(tags={"source": consumer}, statuses=_WITH_A_PLACE)
    for record in context.instance.get_run_records(filters):
        run = record.dagster_run
        began_s = record.start_time
        unheard = (
            run.run_id not in processes
            and began_s is not None
            and SYSTEM_CLOCK.now_us() / 1e6 - began_s > _HEARD_OF_WITHIN_S
        )
        if not unheard and run.run_id not in gone:
            continue
        process = processes.get(run.run_id)
        if process is not None and kill(process):
            context.log.warning(f"run {run.run_id[:8]} hangs: its process {process.pid} is killed")
        elif life_of(process) is Life.UNKNOWN:
            end_run(context.instance, run, context.log)
        context.log.warning(f"run {run.run_id[:8]} says nothing any more: it is ended as failed")
        context.instance.report_run_failed(run, "its consumer died or hung: it says nothing any more")
