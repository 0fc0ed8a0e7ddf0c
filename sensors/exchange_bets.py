"""Keeps a consumer run of `exchange-bets` alive. Reads heartbeats, never the stream. Not here: the decision (supervision.py)."""

import dagster as dg

from assets.exchange_bets import consume_bets
from exchange_platform.clock import SYSTEM_CLOCK
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.consumers import ConsumerRows
from exchange_platform.streams.exchange_bets import EXCHANGE_BETS
from exchange_platform.supervision import Requests, decide
from resources.platform import PlatformResource


@dg.sensor(
    job=consume_bets,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Keeps one consumer run alive: starts one where there is none, a successor before the run ends or when it died.",
)
def exchange_bets_sensor(
    context: dg.SensorEvaluationContext, platform: PlatformResource
) -> dg.SensorResult | dg.SkipReason:
    """Look at the newest consumer's heartbeat and request a run if one is needed."""
    try:
        recent = ConsumerRows(platform.database).recent(EXCHANGE_BETS)
    except StoreUnavailable as error:
        return dg.SkipReason(f"TROUBLE: {error}")
    decision = decide(
        EXCHANGE_BETS,
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
