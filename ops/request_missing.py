"""The job that brings back what a store lacks. How it is found and asked for lives in
exchange_platform/operations/checks/missing.py.
"""

import time

import dagster as dg

from exchange_platform.operations.checks.missing import request_missing as request_from
from exchange_platform.operations.checks.missing import restore_view
from exchange_platform.process.clock import SYSTEM_CLOCK
from resources.platform import PlatformResource
from resources.run_sizes import SMALL_RUN


@dg.op
def ask_for_missing(context: dg.OpExecutionContext, platform: PlatformResource) -> None:
    """Compare all that the exchange reports with the stores, and ask it to publish again what they lack."""
    with platform.exchange() as exchange, platform.lake() as lake:
        requested = request_from(platform.database, lake, exchange, SYSTEM_CLOCK)
    if not requested.reported:
        context.log.warning(
            "the exchange gives no report of what it did: nothing is known of what is missing"
        )
    for said in requested.spans.values():
        context.log.info(f"asked for: {said}")
    for said in requested.not_held.values():
        context.log.error(f"the exchange no longer holds it: {said}")
    context.add_output_metadata(
        {
            "reported": requested.reported,
            "market_minutes_asked_for": len(requested.spans),
            "market_minutes_no_longer_held": len(requested.not_held),
        }
    )


@dg.op
def write_profiles_again(context: dg.OpExecutionContext, platform: PlatformResource) -> None:
    """Write the items of the profile view that differ from the database."""
    with platform.profile_view() as view:
        restored = restore_view(platform.database, view, wait=time.sleep)
    context.log.info(f"{len(restored)} users written again: {', '.join(restored[:20])}")
    context.add_output_metadata({"users": len(restored)})


@dg.job(
    executor_def=dg.in_process_executor,
    tags=SMALL_RUN,
    description="Ask the exchange to publish again what a store lacks, and write again what the profile view holds otherwise.",
)
def request_missing() -> None:
    """Side by side: one does not wait for the other."""
    ask_for_missing()
    write_profiles_again()
