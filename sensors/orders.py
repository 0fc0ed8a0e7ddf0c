"""Requests the reconciliation of orders when some wait for too long. Not here: what it does
(ops/reconcile_orders.py).
"""

import dagster as dg

from exchange_platform.operations import checks
from exchange_platform.process.clock import SYSTEM_CLOCK, elapsed_s
from exchange_platform.stores.checkpoints import StoreUnavailable
from ops.reconcile_orders import reconcile_orders
from resources.platform import PlatformResource

EVERY_S = 60


@dg.sensor(
    job=reconcile_orders,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks the exchange for bets that stay PENDING: a run a minute while there are some, none otherwise.",
)
def orders_sensor(
    context: dg.SensorEvaluationContext, platform: PlatformResource
) -> dg.SensorResult | dg.SkipReason:
    """Look at the oldest order and the oldest pending bet."""
    now_us = SYSTEM_CLOCK.now_us()
    try:
        outcomes = (
            checks.orders_published(platform.database, SYSTEM_CLOCK),
            checks.orders_answered(platform.database, platform.settings, SYSTEM_CLOCK),
        )
    except StoreUnavailable as error:
        return dg.SkipReason(f"TROUBLE: {error}")
    told = "; ".join(outcome.description for outcome in outcomes)
    if all(outcome.passed for outcome in outcomes):
        return dg.SkipReason(told)
    requested_us = int(context.cursor or 0)
    waited_s = elapsed_s(requested_us, now_us)
    if waited_s < EVERY_S:
        return dg.SkipReason(f"{told}; requested {waited_s:.0f} s ago")
    context.update_cursor(str(now_us))
    context.log.warning(told)
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=f"reconcile-{now_us}", tags={"reason": told[:200]})]
    )
