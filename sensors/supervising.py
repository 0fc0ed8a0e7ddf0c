"""Sensors that keep a source's consumer run alive. They read heartbeats, never the stream. Not here: the decision (supervision.py)."""

import dagster as dg
from dagster._core.definitions.target import ExecutableDefinition

from exchange_platform.clock import SYSTEM_CLOCK
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.consumers import ConsumerRows
from exchange_platform.supervision import Requests, decide
from resources.platform import PlatformResource


def supervising_sensor(name: str, source: str, job: ExecutableDefinition, what: str) -> dg.SensorDefinition:
    """The sensor `name`, which keeps one run of `job` alive: the consumer of `source`. `what` completes its description."""

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
        """Look at the newest consumer's heartbeat and request a run if one is needed."""
        try:
            recent = ConsumerRows(platform.database).recent(source)
        except StoreUnavailable as error:
            return dg.SkipReason(f"TROUBLE: {error}")
        decision = decide(
            source,
            recent,
            Requests.from_text(context.cursor),
            now_us=SYSTEM_CLOCK.now_us(),
            settings=platform.settings,
        )
        context.update_cursor(decision.requests.to_text())
        if decision.run_key is None:
            return dg.SkipReason(decision.reason)
        context.log.info(decision.reason)
        return dg.SensorResult(
            run_requests=[dg.RunRequest(run_key=decision.run_key, tags={"reason": decision.reason[:200]})]
        )

    return supervise
