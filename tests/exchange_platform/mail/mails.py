"""Mails to send in tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from exchange_platform.mail.message import OutgoingMail

WRITTEN = datetime(2026, 11, 24, 12, 0, 5, 123456, UTC)


def outgoing(mail_id: str = "bet.b1.1", **changes: Any) -> OutgoingMail:
    values: dict[str, Any] = {
        "mail_id": mail_id,
        "to_address": "ann@customer.example",
        "to_name": "Ann",
        "subject": "Bet matched: £10.00",
        "text": "Your bet of £10.00 is matched.\n",
        "html": "<p>Your bet of £10.00 is matched.</p>",
        "written_at": WRITTEN,
        "unsubscribe_url": "https://exchange.example/unsubscribe?token=a.b",
    }
    return OutgoingMail(**(values | changes))
