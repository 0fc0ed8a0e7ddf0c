"""Mail through an SMTP server: TLS or STARTTLS, login, a connection that is kept. Not here: when to try again
(channel.py).
"""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import ssl
import time
from collections.abc import Callable

from exchange_platform.mail.message import InvalidMail, OutgoingMail, recipient, sender_address, to_bytes
from exchange_platform.mail.sender import (
    MessageRefused,
    NotSent,
    RecipientRefused,
    SenderUnavailable,
    TryAgain,
)
from exchange_platform.mail.senders.smtp_connection import PlainConnection, TlsConnection
from exchange_platform.process.visible_text import one_visible_line
from exchange_platform.settings import Settings

_IDLE_S = 60.0
"""A connection that was idle for so long is reopened: servers close theirs after some minutes (RFC 5321,
4.5.3.2).
"""
_ENHANCED = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
_NO_SUCH_RECIPIENT = frozenset({550, 551, 553, 556})
_NO_SUCH_MAILBOX = frozenset({(5, 0), (4, 1)})
"""Enhanced codes after the 5 with which a 550 at RCPT means that there is no such mailbox: Outlook.com's
5.5.0, Exchange Online's 5.4.1.
"""


class SmtpSender:
    """Sends over one connection that is kept between mails and reopened when it broke."""

    def __init__(self, settings: Settings, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._monotonic_s = monotonic_s
        self._connection: smtplib.SMTP | None = None
        self._used_at_s = 0.0

    def send(self, mail: OutgoingMail) -> None:
        """Hand the mail to the server. Raises `NotSent`.

        A connection lost after the mail's last byte, before the server's reply, raises `TryAgain`: the server
        may have it.
        """
        try:
            data = to_bytes(mail, self._settings.mail_from)
            address = recipient(mail).addr_spec
        except InvalidMail as error:
            raise MessageRefused(str(error)) from None
        connection = self._begun()
        try:
            self._recipient(connection, address)
            code, reply = connection.data(data)
        except smtplib.SMTPDataError as error:  # the server does not even want the text
            self._reset()
            raise _refusal(int(error.smtp_code), error.smtp_error, at="DATA") from error
        except (smtplib.SMTPServerDisconnected, OSError) as error:
            self._drop()
            raise TryAgain(f"{self._where}: the connection was lost: {_text(error)}") from error
        except NotSent:
            self._reset()
            raise
        self._used_at_s = self._monotonic_s()
        if code != 250:
            self._reset()
            raise _refusal(code, reply, at="message")

    def close(self) -> None:
        """Say goodbye, if there is a connection."""
        if self._connection is not None:
            with contextlib.suppress(smtplib.SMTPException, OSError):
                self._connection.docmd("QUIT")
        self._drop()

    def _drop(self) -> None:
        """Leave a connection that is broken or useless."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @property
    def _where(self) -> str:
        return f"{self._settings.smtp_host}:{self._settings.smtp_port}"

    def _begun(self) -> smtplib.SMTP:
        """A connection on which the server has taken `MAIL FROM`. A kept one that broke meanwhile is replaced
        at once.
        """
        sender = sender_address(self._settings.mail_from).addr_spec
        kept = self._connection
        if kept is not None and self._monotonic_s() - self._used_at_s < _IDLE_S:
            try:
                code, reply = kept.mail(sender)
            except (smtplib.SMTPServerDisconnected, OSError):
                code, reply = 421, b"the kept connection was closed"
            if code == 250:
                return kept
            if code != 421:
                self._reset()
                raise self._sender_refused(code, reply)
        self._drop()
        fresh = self._connect()
        try:
            code, reply = fresh.mail(sender)
        except (smtplib.SMTPServerDisconnected, OSError) as error:
            self._drop()
            raise SenderUnavailable(f"{self._where}: {_text(error)}") from error
        if code != 250:
            self._drop()
            raise self._sender_refused(code, reply)
        return fresh

    def _sender_refused(self, code: int, reply: bytes) -> NotSent:
        """What a refused `MAIL FROM` means: our own address, a full disk, a login that is wanted. No mail is
        to blame.
        """
        return SenderUnavailable(f"{self._where} refuses mail from us: {code} {_reply(reply)}")

    def _recipient(self, connection: smtplib.SMTP, address: str) -> None:
        code, reply = connection.rcpt(address)
        if code not in (250, 251):
            raise _refusal(code, reply, at="recipient")

    def _connect(self) -> smtplib.SMTP:
        settings = self._settings
        assert settings.smtp_host is not None
        try:
            tls = None
            if settings.smtp_security != "none":
                tls = ssl.create_default_context(
                    cafile=str(settings.smtp_ca_file) if settings.smtp_ca_file is not None else None
                )
            if settings.smtp_security == "tls":
                assert tls is not None
                connection: smtplib.SMTP = TlsConnection(
                    settings.smtp_host, settings.smtp_port, timeout=settings.smtp_timeout_s, context=tls
                )
            else:
                connection = PlainConnection(
                    settings.smtp_host, settings.smtp_port, timeout=settings.smtp_timeout_s
                )
            self._connection = connection
            connection.ehlo_or_helo_if_needed()
            if settings.smtp_security == "starttls":
                connection.starttls(context=tls)
                connection.ehlo_or_helo_if_needed()
            if settings.smtp_user is not None and settings.smtp_password is not None:
                connection.login(settings.smtp_user, settings.smtp_password.get_secret_value())
        except smtplib.SMTPAuthenticationError as error:
            self._drop()
            # The server's words only: the exception could repeat what was sent.
            raise SenderUnavailable(
                f"{self._where} refuses the login of {settings.smtp_user}: {error.smtp_code} {_reply(error.smtp_error)}"
            ) from None
        except smtplib.SMTPNotSupportedError as error:
            self._drop()
            raise SenderUnavailable(
                f"{self._where}: {error}; EXCHANGE_PLATFORM_SMTP_SECURITY is {settings.smtp_security}"
            ) from error
        except (smtplib.SMTPException, OSError) as error:
            self._drop()
            raise SenderUnavailable(f"{self._where}: {_text(error)}") from error
        if connection.sock is not None:
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _reset(self) -> None:
        """End the mail that was begun; a server that does not take that is left."""
        if self._connection is None:
            return
        try:
            code, _ = self._connection.rset()
        except (smtplib.SMTPException, OSError):
            code = 421
        if code != 250:
            self._drop()


def _refusal(code: int, reply: bytes | str, *, at: str) -> NotSent:
    """What a refusal asks for (RFC 5321, 4.2.1; RFC 3463 for the codes with dots).

    A refusal for policy (x.7.x) or a full mailbox (x.2.2) says nothing against the address: a relay that is
    not open to us would else cost every account its mail.
    """
    text = f"{code} {_reply(reply)}"
    if code == 421:
        return SenderUnavailable(text)
    if code < 500:
        return TryAgain(text)
    found = _ENHANCED.search(_reply(reply))
    if code == 530:
        return SenderUnavailable(text)
    if found is not None:
        subject, detail = int(found[2]), int(found[3])
        if (subject == 1 and detail not in (7, 8)) or (subject == 2 and detail in (0, 1)):
            return RecipientRefused(text)
        # Two large providers say "no such mailbox" so, where others mean a bad command or a route.
        if at == "recipient" and code == 550 and (subject, detail) in _NO_SUCH_MAILBOX:
            return RecipientRefused(text)
        return MessageRefused(text)
    if at == "recipient" and code in _NO_SUCH_RECIPIENT:
        return RecipientRefused(text)
    return MessageRefused(text)


def _reply(reply: bytes | str) -> str:
    return one_visible_line(reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply, 300)


def _text(error: BaseException) -> str:
    return one_visible_line(str(error), 300) or type(error).__name__
