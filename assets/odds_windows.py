"""The five-minute odds windows as a partitioned asset. The consumer closes windows as time passes; this recomputes a day."""

from datetime import date

import dagster as dg

from assets.consumer_runs import OWNERS
from resources.freshness import LIVE
from resources.platform import PlatformResource

days = dg.DailyPartitionsDefinition(start_date="2015-01-01", timezone="UTC", end_offset=1)


@dg.asset(
    partitions_def=days,
    deps=["executions"],
    group_name="odds",
    kinds={"ducklake", "parquet"},
    owners=OWNERS,
    freshness_policy=LIVE,
    description=(
        "One row per market, selection, handicap and five-minute window: average odds, VWAP, range, open, close, stake. "
        "Closed in real time by the consumer run; materialise a day to compute its closed windows anew from its "
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
def odds_windows(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult[None]:
    """Recompute one day's closed windows; rows that are what they were keep their revision."""
    day = date.fromisoformat(context.partition_key)
    with platform.lake(read_only=False) as lake:
        done = lake.recompute(day)
    return dg.MaterializeResult(
        metadata={"windows": done.rows, "changed": done.changed, "added": done.added, "removed": done.removed}
    )
