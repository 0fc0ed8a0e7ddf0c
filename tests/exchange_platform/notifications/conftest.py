"""A platform with an SMTP server, for the run that notifies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database
from tests.support.notification_parts import ready
from tests.support.smtp_server import SmtpServer


@pytest.fixture
def smtp_server() -> Iterator[SmtpServer]:
    """A server that accepts everything until it is told otherwise."""
    server = SmtpServer().start()
    yield server
    server.stop()


@pytest.fixture
def notifying(settings: Settings, smtp_server: SmtpServer) -> Settings:
    """Settings that mail to the server and publish to a topic of their own."""
    return settings.model_copy(
        update={
            "mail_sender": "smtp",
            "mail_from": "Exchange <mail@exchange.example>",
            "mail_rate_per_s": 1000.0,
            "mail_retry_first_s": 0.2,
            "smtp_host": "127.0.0.1",
            "smtp_port": smtp_server.port,
            "smtp_security": "none",
            "smtp_timeout_s": 5.0,
            "fills_quiet_s": 0.5,
            "fills_at_most_s": 1.5,
        }
    )


@pytest.fixture
def database(notifying: Settings) -> Iterator[Database]:
    """Its operational database, with all tables; its topic exists, too."""
    database = ready(notifying)
    yield database
    database.dispose()
