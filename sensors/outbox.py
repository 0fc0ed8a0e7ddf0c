"""Keeps a run of `notifications` alive: the run that delivers the outbox."""

from exchange_platform.stores.operational.bets.outbox import NOTIFICATIONS
from ops.notify_users import notify_users
from sensors.supervising import supervising_sensor

outbox_sensor = supervising_sensor(
    "outbox_sensor", NOTIFICATIONS, notify_users, "one run that delivers the outbox, by mail and by topic,"
)
