"""Puts together the run that mails confirmations and hears of those that did not arrive. Not here: starting
it (ops/), or its parts.
"""

from __future__ import annotations

from functools import partial

from exchange_platform.confirmation.feedback_channel import FeedbackChannel
from exchange_platform.confirmation.mail_requests import CONFIRMATIONS
from exchange_platform.confirmation.mails import ConfirmationMails
from exchange_platform.delivery.delivery import Channel, DeliveryRun
from exchange_platform.mail.channel import MailChannel
from exchange_platform.mail.rates import CONFIRMATIONS_SHARE
from exchange_platform.mail.senders import open_sender
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.runs.liveness import Patience
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.dynamodb.confirmation_tokens import ConfirmationTokens
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import Database


def build_run(
    settings: Settings,
    *,
    run_id: str,
    duration_s: float | None = None,
    requested_at_us: int | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> DeliveryRun:
    """A run of `confirmations`, to be run once. It opens nothing before that."""
    database = Database(settings.operational_database_url, durable=True)
    dynamodb = aws_client(settings, "dynamodb")
    tokens = ConfirmationTokens(dynamodb, settings.tokens_table)
    channels: list[Channel] = [
        MailChannel(
            ConfirmationMails(settings, database, tokens, clock=clock),
            partial(open_sender, settings),
            connections=settings.mail_connections,
            rate_per_s=settings.mail_rate_per_s * CONFIRMATIONS_SHARE,
            retry_first_s=settings.mail_retry_first_s,
            give_up_s=min(settings.mail_give_up_s, settings.token_lifetime_s),
            clock=clock,
        )
    ]
    if settings.mail_feedback_queue is not None:
        channels.append(
            FeedbackChannel(
                aws_client(settings, "sqs"),
                settings.mail_feedback_queue,
                settings.mail_feedback_topic,
                database,
                clock=clock,
            )
        )

    def close() -> None:
        dynamodb.close()
        database.dispose()

    return DeliveryRun(
        CONFIRMATIONS,
        channels,
        ConsumerRows(database),
        run_id=run_id,
        duration_s=settings.run_duration_s if duration_s is None else duration_s,
        report_interval_s=settings.report_interval_s,
        patience=Patience.from_settings(settings),
        requested_at_us=requested_at_us,
        on_close=close,
        clock=clock,
    )
