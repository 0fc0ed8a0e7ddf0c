"""The job that mails confirmations and hears of those that did not arrive. Not here: what is mailed
(exchange_platform/confirmation/).
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from exchange_platform.confirmation.mail_requests import CONFIRMATIONS
from ops.delivering import DeliveryConfig, delivered
from resources.freshness import LIVE
from resources.platform import PlatformResource
from resources.run_priorities import LONG_LIVED
from resources.run_requests import requested_at_us
from resources.run_sizes import DELIVERY_RUN

confirmation_mails = dg.AssetSpec(
    "confirmation_mails",
    description="Confirmations of new accounts, mailed within two seconds; bounces and complaints mark their accounts.",
    group_name="accounts",
    kinds={"mail"},
    owners=["team:exchange-data"],
    tags={"real_time": "", "source": CONFIRMATIONS},
    freshness_policy=LIVE,
)


@dg.op(description="Mail what is asked for until the time is over or a newer run takes over.")
def mail_confirmations(
    context: dg.OpExecutionContext, config: DeliveryConfig, platform: PlatformResource
) -> Iterator[Any]:
    """Collect, draw tokens, render, send, mark; report every ten seconds."""
    run = platform.confirmations_run(
        context.run.run_id,
        config.duration_s,
        requested_at_us=requested_at_us(context.instance, context.run.run_id),
    )
    yield from delivered(context, run, confirmation_mails.key.to_user_string())


@dg.job(
    executor_def=dg.in_process_executor,
    tags={"source": CONFIRMATIONS, **DELIVERY_RUN, **LONG_LIVED},
    description="Mails confirmations of new accounts: lives a quarter of an hour, then hands over to its successor.",
)
def confirm_accounts() -> None:
    """One op."""
    mail_confirmations()
