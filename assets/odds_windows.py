"""The five-minute odds windows as a partitioned asset. The consumer closes windows as time passes; this
recomputes a day.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg

from assets.consumer_runs import OWNERS
from exchange_platform.stores.lake.windows import Recomputed
from resources.freshness import LIVE
from resources.platform import PlatformResource
from resources.run_priorities import LAKE_WRITERS

days = dg.DailyPartitionsDefinition(start_date="2015-01-01", timezone="UTC", end_offset=1)


@dg.asset(
    partitions_def=days,
    # Thousands of days as a run each would queue for hours; a month in one run may be tried again, and ends
    # in time.
    backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=31),
    pool=LAKE_WRITERS,
    # A consumer may hold the lake for long at times; what was done is done.
    retry_policy=dg.RetryPolicy(max_retries=3, delay=10),
    deps=["executions"],
    group_name="odds",
    kinds={"ducklake", "parquet"},
    owners=OWNERS,
    freshness_policy=LIVE,
    description=(
        "One row per market, selection, handicap and five-minute window: average odds, VWAP, range, open, close, stake. "
        "Closed in real time by the consumer run; materialise a day to compute its closed windows again from its "
        "executions."
    ),
    metadata={
        "dagster/column_schema": dg.TableSchema(
            columns=[
                dg.TableColumn("market_id", "VARCHAR"),
                dg.TableColumn("selection_id", "BIGINT"),
                dg.TableColumn("handicap", "DECIMAL(7,2)"),
                dg.TableColumn(
                    "window_start", "TIMESTAMPTZ", description="half-open [start, start + 5 min), UTC"
                ),
                dg.TableColumn("executions", "BIGINT"),
                dg.TableColumn(
                    "average_odds", "DOUBLE", description="arithmetic mean of the executions' odds"
                ),
                dg.TableColumn("vwap", "DOUBLE", description="mean weighted by stake"),
                dg.TableColumn("min_odds", "DECIMAL(9,3)"),
                dg.TableColumn("max_odds", "DECIMAL(9,3)"),
                dg.TableColumn("open_odds", "DECIMAL(9,3)"),
                dg.TableColumn("close_odds", "DECIMAL(9,3)"),
                dg.TableColumn("stake", "DECIMAL(18,3)", description="major units, the backers' stakes"),
                dg.TableColumn("final", "BOOLEAN"),
                dg.TableColumn(
                    "revision", "BIGINT", description="1 when first closed; one more with each change"
                ),
            ]
        )
    },
)
def odds_windows(context: dg.AssetExecutionContext, platform: PlatformResource) -> Iterator[Any]:
    """Recompute the days' closed windows, one after the other; rows that are what they were keep their
    revision.

    Of several days each is reported once it is done: a run that is killed has done those, and doing them
    again changes nothing.
    """
    wanted = [date.fromisoformat(day) for day in context.partition_keys]
    with platform.lake(read_only=False) as lake:
        for day in wanted[:-1]:
            yield dg.AssetMaterialization(
                "odds_windows", partition=day.isoformat(), metadata=_figures(lake.recompute(day))
            )
        last = lake.recompute(wanted[-1])
    yield dg.MaterializeResult(metadata=_figures(last))


def _figures(done: Recomputed) -> dict[str, int]:
    return {"windows": done.rows, "changed": done.changed, "added": done.added, "removed": done.removed}
