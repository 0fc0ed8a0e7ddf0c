"""The SMTP sender against a real server: what each answer means, and the connection that it keeps."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from exchange_platform.local.programs import free_ports
from exchange_platform.mail.sender import (
    MessageRefused,
    NotSent,
    RecipientRefused,
    SenderUnavailable,
    TryAgain,
)
from exchange_platform.mail.senders.smtp import SmtpSender
from exchange_platform.settings import Settings
from tests.exchange_platform.mail.mails import outgoing
from tests.support.smtp_server import HANG_UP, SmtpServer, certificate, first_times


def test_an_accepted_mail_has_arrived_and_the_connection_is_kept(
    smtp_settings: Settings, smtp_server: SmtpServer
) -> None:
    sender = SmtpSender(smtp_settings)
    for number in range(5):
        sender.send(outgoing(f"bet.b1.{number}"))
    sender.close()
    assert smtp_server.connections == 1
    assert len({one.message_id for one in smtp_server.received}) == 5
    first = smtp_server.received[0]
    assert (first.recipient, first.subject) == ("ann@customer.example", "Bet matched: £10.00")
    assert "£10.00" in first.text
    assert "<p>Your bet of £10.00" in first.html


@pytest.mark.parametrize(
    ("stage", "answer", "reaction"),
    [
        ("recipient", "550 5.1.1 no such user here", RecipientRefused),
        ("recipient", "550 no such user here", RecipientRefused),
        ("recipient", "550 5.2.1 mailbox disabled", RecipientRefused),
        ("recipient", "550 5.5.0 Requested action not taken: mailbox unavailable", RecipientRefused),
        ("recipient", "550 5.4.1 Recipient address rejected: Access denied", RecipientRefused),
        ("recipient", "503 5.5.0 bad sequence of commands", MessageRefused),
        ("message", "550 5.5.0 that is no mail", MessageRefused),
        ("recipient", "550 5.7.1 relaying denied", MessageRefused),
        ("recipient", "552 5.2.2 mailbox full", MessageRefused),
        ("recipient", "530 5.7.0 authentication required", SenderUnavailable),
        ("recipient", "451 4.7.1 greylisted, try again later", TryAgain),
        ("recipient", "452 4.5.3 too many recipients", TryAgain),
        ("recipient", "421 4.3.2 closing", SenderUnavailable),
        ("recipient", HANG_UP, TryAgain),
        ("message", "554 5.7.1 looks like spam", MessageRefused),
        ("message", "550 5.1.1 no such user after all", RecipientRefused),
        ("message", "552 message too large", MessageRefused),
        ("message", "451 4.3.0 local error", TryAgain),
        ("message", HANG_UP, TryAgain),
        ("sender", "550 5.7.1 this sender may not", SenderUnavailable),
        ("sender", "452 4.3.1 disk full", SenderUnavailable),
    ],
)
def test_each_refusal_asks_for_its_own_reaction_and_the_next_mail_goes_through(
    smtp_settings: Settings, smtp_server: SmtpServer, stage: str, answer: str, reaction: type[NotSent]
) -> None:
    setattr(smtp_server, f"on_{stage}", first_times(1, answer))
    sender = SmtpSender(smtp_settings)
    with pytest.raises(reaction) as caught:
        sender.send(outgoing("refused"))
    assert type(caught.value) is reaction
    if answer != HANG_UP:
        assert answer.split()[-1] in str(caught.value)
    sender.send(outgoing("accepted"))
    sender.close()
    assert len(smtp_server.received) == 1


def test_a_server_that_is_away_blames_no_mail(smtp_settings: Settings) -> None:
    (port,) = free_ports(1)
    sender = SmtpSender(smtp_settings.model_copy(update={"smtp_port": port}))
    with pytest.raises(SenderUnavailable, match=rf"127\.0\.0\.1:{port}"):
        sender.send(outgoing())


def test_a_kept_connection_that_the_server_closed_is_opened_anew_unnoticed(
    smtp_settings: Settings, smtp_server: SmtpServer
) -> None:
    sender = SmtpSender(smtp_settings)
    sender.send(outgoing("before"))
    smtp_server.stop()
    again = SmtpServer(port=smtp_server.port).start()
    try:
        sender.send(outgoing("after"))
        assert [one.subject for one in again.received] == ["Bet matched: £10.00"]
    finally:
        sender.close()
        again.stop()


def test_a_connection_that_was_idle_for_long_is_not_trusted(
    smtp_settings: Settings, smtp_server: SmtpServer
) -> None:
    now = [0.0]
    sender = SmtpSender(smtp_settings, monotonic_s=lambda: now[0])
    sender.send(outgoing("one"))
    now[0] = 59.0
    sender.send(outgoing("two"))
    assert smtp_server.connections == 1
    now[0] = 200.0
    sender.send(outgoing("three"))
    sender.close()
    assert smtp_server.connections == 2


def test_a_server_that_never_answers_is_given_up_after_the_timeout(smtp_settings: Settings) -> None:
    with _mute_server() as port:
        sender = SmtpSender(smtp_settings.model_copy(update={"smtp_port": port, "smtp_timeout_s": 0.3}))
        with pytest.raises(SenderUnavailable, match="timed out"):
            sender.send(outgoing())


def test_a_reply_that_comes_too_late_means_try_again(
    smtp_settings: Settings, smtp_server: SmtpServer
) -> None:
    smtp_server.answer_after_s = 1.0
    sender = SmtpSender(smtp_settings.model_copy(update={"smtp_timeout_s": 0.3}))
    with pytest.raises(TryAgain, match="timed out"):
        sender.send(outgoing())
    smtp_server.answer_after_s = 0.0
    sender.send(outgoing())
    sender.close()


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_with_tls_and_login_the_mail_arrives(settings: Settings, tmp_path: Path, security: str) -> None:
    context, authority = certificate(tmp_path)
    server = SmtpServer(
        tls=context, tls_from_the_start=security == "tls", login=("platform", "s3cret-word")
    ).start()
    secured = settings.model_copy(
        update={
            "mail_from": "mail@exchange.example",
            "smtp_host": "127.0.0.1",
            "smtp_port": server.port,
            "smtp_security": security,
            "smtp_ca_file": authority,
            "smtp_user": "platform",
            "smtp_password": SecretStr("s3cret-word"),
        }
    )
    try:
        sender = SmtpSender(secured)
        sender.send(outgoing())
        sender.close()
        assert len(server.received) == 1
        wrong = SmtpSender(secured.model_copy(update={"smtp_password": SecretStr("another-word")}))
        with pytest.raises(SenderUnavailable, match="refuses the login of platform") as caught:
            wrong.send(outgoing())
        assert "another-word" not in repr(caught.value)
        untrusting = SmtpSender(secured.model_copy(update={"smtp_ca_file": None}))
        with pytest.raises(SenderUnavailable, match="certificate"):
            untrusting.send(outgoing())
    finally:
        server.stop()


def test_a_server_without_starttls_gets_neither_mail_nor_password(
    smtp_settings: Settings, smtp_server: SmtpServer
) -> None:
    sender = SmtpSender(smtp_settings.model_copy(update={"smtp_security": "starttls"}))
    with pytest.raises(SenderUnavailable, match="STARTTLS"):
        sender.send(outgoing())
    assert smtp_server.received == []


def test_an_address_that_no_header_can_hold_is_refused_before_anything_is_sent(
    smtp_settings: Settings, smtp_server: SmtpServer
) -> None:
    with pytest.raises(MessageRefused):
        SmtpSender(smtp_settings).send(outgoing(to_address="ann@x.example\r\nRCPT TO:<eve@x.example>"))
    assert smtp_server.connections == 0


@contextmanager
def _mute_server() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        held: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    held.append(listening.accept()[0])
            except OSError:
                return

        threading.Thread(target=accept, daemon=True).start()
        yield int(listening.getsockname()[1])
        for one in held:
            one.close()
