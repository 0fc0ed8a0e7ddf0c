"""A real SMTP server for tests, which refuses, greylists, hangs up or dawdles as it is told."""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from exchange_platform.local.programs import free_ports

HANG_UP = "hang up"


@dataclass(frozen=True, slots=True)
class Received:
    """One mail that the server accepted."""

    at_s: float
    recipient: str
    message: EmailMessage
    data: bytes

    @property
    def message_id(self) -> str:
        return str(self.message["Message-ID"])

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    @property
    def text(self) -> str:
        return self._body("plain")

    @property
    def html(self) -> str:
        return self._body("html")

    def _body(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        assert part is not None
        return str(part.get_content())


@dataclass
class SmtpServer:
    """What the server does, and what it got. Its answers may be changed at any time.

    `on_recipient` and `on_message` see the recipient and answer with a line such as `550 5.1.1 no such user`,
    `HANG_UP`, or None to accept.
    """

    on_recipient: Callable[[str], str | None] = lambda _: None
    on_message: Callable[[str], str | None] = lambda _: None
    on_sender: Callable[[str], str | None] = lambda _: None
    answer_after_s: float = 0.0
    login: tuple[str, str] | None = None
    tls: ssl.SSLContext | None = None
    tls_from_the_start: bool = False
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    def start(self) -> SmtpServer:
        """Listen on a port of 127.0.0.1."""
        self.port = self.port or free_ports(1)[0]
        options: dict[str, Any] = {}
        if self.tls is not None:
            options["ssl_context" if self.tls_from_the_start else "tls_context"] = self.tls
        if self.login is not None:
            options |= {
                "authenticator": self._authenticate,
                "auth_required": True,
                "auth_require_tls": self.tls is not None and not self.tls_from_the_start,
            }
        self._controller = _Controller(self, hostname="127.0.0.1", port=self.port, **options)
        self._controller.start()
        self.connections = 0  # the controller has tried it
        return self

    def stop(self) -> None:
        """Stop listening, and hang up."""
        with suppress(AssertionError):
            self._controller.stop()

    def _authenticate(
        self, _server: Any, _session: Any, _envelope: Any, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword), mechanism
        well = (data.login.decode(), data.password.decode()) == self.login
        return AuthResult(success=well, handled=well)

    # aiosmtpd calls these.

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if (answer := self.on_sender(address)) is not None:
            return answer
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.on_recipient(address)
        if answer == HANG_UP:
            _hang_up(server)
        if answer is not None:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        (recipient,) = envelope.rcpt_tos
        if self.answer_after_s:
            await asyncio.sleep(self.answer_after_s)
        answer = self.on_message(recipient)
        if answer == HANG_UP:
            _hang_up(server)
        if answer is not None:
            return answer
        data = envelope.original_content or b""
        message = email.message_from_bytes(data, policy=email.policy.default)
        self.received.append(Received(time.time(), recipient, message, data))
        return "250 accepted"


def _hang_up(server: SMTP) -> None:
    transport = server.transport
    assert isinstance(transport, asyncio.Transport)
    transport.abort()


class _Smtp(SMTP):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        handler: SmtpServer = self.event_handler
        handler.connections += 1
        super().connection_made(transport)


class _Controller(Controller):
    def factory(self) -> SMTP:
        return _Smtp(self.handler, **self.SMTP_kwargs)


def certificate(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context for 127.0.0.1, and the file of the authority that signed it."""
    import ipaddress
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = directory / "server.pem", directory / "server.key"
    certificate_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    return context, certificate_file


def first_times(count: int, answer: str) -> Callable[[str], str | None]:
    """An answer that each address gets so many times, before it is accepted."""
    seen: dict[str, int] = {}
    lock = threading.Lock()

    def answered(address: str) -> str | None:
        with lock:
            seen[address] = seen.get(address, 0) + 1
            return answer if seen[address] <= count else None

    return answered
