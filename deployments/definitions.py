"""All assets, checks, jobs, schedules and sensors of the platform: what every deployment runs. Not here:
where (local.py, aws.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg

from assets.checks import asset_checks
from assets.exchange_bets import consume_bets, exchange_bets_consumer, exchange_bets_stream
from assets.exchange_feed import consume_exchange_feed, exchange_feed, exchange_feed_consumer
from assets.odds_windows import odds_windows
from ops.confirm_accounts import confirm_accounts, confirmation_mails
from ops.event_index import rebuild_event_index
from ops.housekeeping import maintain_lake, purge, schedules
from ops.notify_users import notifications, notify_users
from ops.reconcile_orders import reconcile_orders
from ops.request_missing import request_missing
from resources.platform import PlatformResource
from sensors.confirmations import confirmations_sensor
from sensors.exchange_bets import exchange_bets_sensor
from sensors.exchange_feed import exchange_feed_sensor
from sensors.orders import orders_sensor
from sensors.outbox import outbox_sensor
from sensors.reconciliation import reconciliation_sensor
from sensors.run_failures import run_failures


def build_definitions(
    resource_overrides: Mapping[str, object] | None = None,
    *,
    more_sensors: Sequence[dg.SensorDefinition] = (),
) -> dg.Definitions:
    """All assets, checks, jobs, sensors and schedules; tests override resources, a deployment may add
    sensors.
    """
    return dg.Definitions(
        assets=[
            exchange_bets_stream,
            exchange_bets_consumer,
            odds_windows,
            exchange_feed,
            exchange_feed_consumer,
            notifications,
            confirmation_mails,
        ],
        asset_checks=asset_checks,
        jobs=[
            consume_bets,
            consume_exchange_feed,
            rebuild_event_index,
            notify_users,
            confirm_accounts,
            maintain_lake,
            purge,
            reconcile_orders,
            request_missing,
        ],
        schedules=schedules,
        sensors=[
            exchange_bets_sensor,
            exchange_feed_sensor,
            outbox_sensor,
            confirmations_sensor,
            orders_sensor,
            reconciliation_sensor,
            run_failures,
            *more_sensors,
        ],
        resources={"platform": PlatformResource(), **(resource_overrides or {})},
        executor=dg.in_process_executor,
    )
