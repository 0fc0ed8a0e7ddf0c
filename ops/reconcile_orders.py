"""The job that settles what became of orders and pending bets. Not here: how
(exchange_platform/submission/reconciliation.py, order_publishing.py).
"""

import dagster as dg

from exchange_platform.submission.order_publishing import relay_left
from exchange_platform.submission.reconciliation import reconcile_bets
from resources.platform import PlatformResource
from resources.run_priorities import soon
from resources.run_sizes import SMALL_RUN


@dg.op
def relay_orders(context: dg.OpExecutionContext, platform: PlatformResource) -> int:
    """Publish orders that were left in the outbox."""
    relayed = relay_left(platform.settings, platform.database)
    context.add_output_metadata({"orders": relayed})
    context.log.info(f"{relayed} orders that were left are published")
    return relayed


@dg.op
def ask_the_exchange(context: dg.OpExecutionContext, relayed: int, platform: PlatformResource) -> None:
    """Ask the exchange for every bet that is PENDING for too long, and apply what it says."""
    done = reconcile_bets(platform.settings, platform.database)
    context.add_output_metadata(
        {
            "relayed": relayed,
            "answered": len(done.answered),
            "lapsed": len(done.lapsed),
            "unknown": len(done.unknown),
            "contradictions": dg.MetadataValue.json(done.contradictions),
        }
    )
    context.log.info(
        f"{len(done.answered)} answered, {len(done.lapsed)} lapsed, {len(done.unknown)} still unknown"
        + "".join(f"; bet {bet_id}: {reason}" for bet_id, reason in done.contradictions.items())
    )


@dg.job(
    executor_def=dg.in_process_executor,
    tags=SMALL_RUN | soon("reconcile_orders"),
    description="Publish orders that were left, and ask the exchange what became of bets that stay PENDING.",
)
def reconcile_orders() -> None:
    """One after the other."""
    ask_the_exchange(relay_orders())
