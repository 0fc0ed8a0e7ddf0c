"""The run that delivers the outbox: its two channels, the topic and mail, put together. Not here: how either
works.
"""

from __future__ import annotations

from datetime import time

from exchange_platform.delivery.delivery import DeliveryRun
from exchange_platform.mail.channel import MailChannel
from exchange_platform.mail.rates import NOTIFICATIONS_SHARE
from exchange_platform.mail.senders import open_sender
from exchange_platform.notifications.mailing import ChangeMails
from exchange_platform.notifications.planning import MailPace
from exchange_platform.notifications.topic import Topic, TopicChannel
from exchange_platform.notifications.unsubscribing import PreferenceLinks
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.runs.liveness import Patience
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client, topic_arn
from exchange_platform.stores.operational.bets.outbox import NOTIFICATIONS
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import Database


def build_notifier(
    settings: Settings,
    *,
    run_id: str,
    clock: Clock = SYSTEM_CLOCK,
    duration_s: float | None = None,
    requested_at_us: int | None = None,
    report_interval_s: float | None = None,
) -> DeliveryRun:
    """Put the run together; `run` it once. It closes what it opened.

    `duration_s` defaults to `settings.run_duration_s`.
    """
    database = Database(settings.operational_database_url)
    mail = MailChannel(
        ChangeMails(database, PreferenceLinks.from_settings(settings), pace_of(settings), clock),
        lambda: open_sender(settings),
        connections=settings.mail_connections,
        rate_per_s=settings.mail_rate_per_s * NOTIFICATIONS_SHARE,
        retry_first_s=settings.mail_retry_first_s,
        give_up_s=settings.mail_give_up_s,
        clock=clock,
    )
    topic = Topic(aws_client(settings, "sns"), lambda: topic_arn(settings, settings.status_topic))
    return DeliveryRun(
        NOTIFICATIONS,
        [TopicChannel(database, topic, clock), mail],
        ConsumerRows(database),
        run_id=run_id,
        duration_s=settings.run_duration_s if duration_s is None else duration_s,
        report_interval_s=settings.report_interval_s if report_interval_s is None else report_interval_s,
        patience=Patience.from_settings(settings),
        requested_at_us=requested_at_us,
        on_close=database.dispose,
        clock=clock,
    )


def pace_of(settings: Settings) -> MailPace:
    """How fast mails leave, as configured."""
    return MailPace(
        fills_quiet_us=int(settings.fills_quiet_s * 1e6),
        fills_at_most_us=int(settings.fills_at_most_s * 1e6),
        digest_interval_us=int(settings.digest_interval_s * 1e6),
        digest_at=time.fromisoformat(settings.digest_at),
    )
