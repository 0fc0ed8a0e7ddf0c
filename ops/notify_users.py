"""The job that tells of every change of a bet: its owner by mail, subscribers by the topic. Not here: what is
told (exchange_platform/notifications/).
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from exchange_platform.stores.operational.bets.outbox import NOTIFICATIONS
from ops.delivering import DeliveryConfig, delivered
from resources.freshness import LIVE
from resources.platform import PlatformResource
from resources.run_priorities import LONG_LIVED
from resources.run_requests import requested_at_us
from resources.run_sizes import DELIVERY_RUN

notifications = dg.AssetSpec(
    "notifications",
    deps=["bets"],
    description=(
        "Every change of a bet, published to the topic `bet-status` and mailed to the bet's owner."
        " `mail sent` and `mail failed` count since the run began, `mail oldest_waiting_s` is what should have left and has not."
    ),
    group_name="betting",
    kinds={"mail", "sns"},
    owners=["team:exchange-data"],
    tags={"real_time": "", "source": NOTIFICATIONS},
    freshness_policy=LIVE,
)


@dg.op(
    description=(
        "Deliver the outbox until the time is over or a newer run takes over. Its stages work side by side, all the time:\n\n"
        "1. **collect**: read on in the outbox, gather fills and digests, take what is due\n"
        "2. **render**: text and HTML, with the ledger's amounts and the account as it is now\n"
        "3. **publish**: the changes to the topic, ten a call, in order per bet (independent of mail)\n"
        "4. **send**: over some connections, within the rate\n"
        "5. **mark**: sent, to be tried again, skipped or dead"
    ),
    tags={"stages": "collect, render, publish, send, mark"},
)
def deliver_notifications(
    context: dg.OpExecutionContext, config: DeliveryConfig, platform: PlatformResource
) -> Iterator[Any]:
    """Collect, render, publish, send, mark; report every ten seconds."""
    run = platform.notifier(
        context.run.run_id,
        config.duration_s,
        requested_at_us=requested_at_us(context.instance, context.run.run_id),
    )
    yield from delivered(context, run, notifications.key.to_user_string())


@dg.job(
    executor_def=dg.in_process_executor,
    tags={"source": NOTIFICATIONS, **DELIVERY_RUN, **LONG_LIVED},
    description="Tells of every change of a bet, by mail and by topic: lives a quarter of an hour, then hands over to its successor.",
)
def notify_users() -> None:
    """One op."""
    deliver_notifications()
