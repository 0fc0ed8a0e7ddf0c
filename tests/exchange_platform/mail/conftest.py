"""An SMTP server, and settings that send to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from exchange_platform.settings import Settings
from tests.support.smtp_server import SmtpServer

FROM = "Exchange <mail@exchange.example>"


@pytest.fixture
def smtp_server() -> Iterator[SmtpServer]:
    """A server that accepts everything until it is told otherwise."""
    server = SmtpServer().start()
    yield server
    server.stop()


@pytest.fixture
def smtp_settings(settings: Settings, smtp_server: SmtpServer) -> Settings:
    """Settings that send to the server, without TLS."""
    return settings.model_copy(
        update={
            "mail_sender": "smtp",
            "mail_from": FROM,
            "smtp_host": "127.0.0.1",
            "smtp_port": smtp_server.port,
            "smtp_security": "none",
            "smtp_timeout_s": 5.0,
        }
    )
