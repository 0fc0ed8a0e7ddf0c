"""The ways to send mail. Not here: the contract (sender.py)."""

from __future__ import annotations

from exchange_platform.mail.sender import Sender
from exchange_platform.settings import Settings


def open_sender(settings: Settings) -> Sender:
    """The configured sender, one for each thread that sends. Nothing is connected before the first `send`."""
    if settings.mail_sender == "smtp":
        from exchange_platform.mail.senders.smtp import SmtpSender

        return SmtpSender(settings)
    if settings.mail_sender == "ses":
        from exchange_platform.mail.senders.ses import SesSender

        return SesSender(settings)
    from exchange_platform.mail.senders.files import FileSender

    return FileSender(settings.data_dir / MAIL_FOLDER, settings.mail_from)


MAIL_FOLDER = "mail"
"""Where, in the data directory, the embedded sender puts its mails."""
