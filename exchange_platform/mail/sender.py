"""The contract of a sender, and its errors, named by what to do about them. Not here: the senders themselves
(senders/).

A sender is one connection, for one thread. `send` returns when the server has accepted the mail: then, and
only then, it is marked as sent.
"""

from __future__ import annotations

from typing import Protocol

from exchange_platform.mail.message import OutgoingMail
from exchange_platform.process.errors import Unavailable


class NotSent(Exception):
    """The server did not accept the mail. Which subclass says what to do; the message is the reason, for
    people.
    """


class TryAgain(NotSent):
    """Not now, for this mail: send it again later (greylisted, any other 4xx, the connection was lost while
    it was sent).
    """


class RecipientRefused(NotSent):
    """Never, to this address: stop mail to it."""


class MessageRefused(NotSent):
    """Never, this mail: a dead letter. The address may be well."""


class SenderUnavailable(NotSent, Unavailable):
    """No mail can be sent now (no connection, no login, throttled, sending paused): wait, and blame no mail
    for it.
    """


class Sender(Protocol):
    """One way to send mail, for one thread at a time."""

    def send(self, mail: OutgoingMail) -> None:
        """Have the mail accepted by the server; returns once it is. Raises `NotSent`: it was not, or (the
        reply was lost) may not have been.
        """
        ...

    def close(self) -> None:
        """Let go of the connection; the next `send` opens another."""
        ...
