"""The job that rebuilds the event index from the database. Not here: how searches go on meanwhile
(event_index/index.py).
"""

import time

import dagster as dg

from exchange_platform.stores.operational.events.documents import DatabaseEventDocuments
from resources.platform import PlatformResource
from resources.run_priorities import soon


@dg.op
def fill_event_index(context: dg.OpExecutionContext, platform: PlatformResource) -> None:
    """Fill a new index from the database and put it in the old one's place."""
    began = time.monotonic()
    with platform.event_index() as index:
        documents = index.rebuild(DatabaseEventDocuments(platform.database))
    seconds = round(time.monotonic() - began, 2)
    context.log.info(f"the event index was rebuilt: {documents} documents in {seconds} s")
    context.log_event(
        dg.AssetMaterialization(
            "event_index",
            description="rebuilt from the database",
            metadata={"documents": documents, "rebuild_s": seconds},
        )
    )


@dg.job(
    executor_def=dg.in_process_executor,
    tags=soon("rebuild_event_index"),
    description="Rebuild the event index from the database. Searches go on in the old one until the new one takes its place.",
)
def rebuild_event_index() -> None:
    """One op."""
    fill_event_index()
