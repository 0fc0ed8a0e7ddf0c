"""No header of any mail can be written by whoever chose a name: every kind of mail, every field that reaches
a header, over SMTP.
"""

from __future__ import annotations

import dataclasses
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.domain.accounts import InvalidAddress, parse_address
from exchange_platform.mail.message import InvalidMail, compose, header_text, to_bytes, wire_bytes
from exchange_platform.mail.sender import MessageRefused
from exchange_platform.mail.senders.smtp import SmtpSender
from exchange_platform.notifications import samples
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.mails.contents import BetNames
from tests.exchange_platform.mail.mails import outgoing
from tests.support.smtp_server import SmtpServer

OWN_HEADERS = {
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "MIME-Version",
    "Content-Type",
}
INJECTIONS = [
    "=?utf-8?q?A=0D=0ABcc:x=40example.com?=",
    "=?utf-8?q?A=0ABcc:x=40example.com?=",
    "=?utf-8?q?A=0DBcc:x=40example.com?=",
    "=?utf-8?b?QQ0KQmNjOnhAZXhhbXBsZS5jb20=?=",
    "=?iso-8859-1*en?q?A=0D=0AReply-To:_x=40example.com?=",
    "=?utf-8?q?A=0D=0A=0D=0AYour_password_has_expired?=",
    "=?utf-8?q?a?= =?utf-8?q?=0D=0ABcc:x=40example.com?=",
    "=\u200b?utf-8?q?A=0D=0ABcc:x=40example.com?=",
    "==?utf-8?q?=0D=0ABcc:x=40example.com?=",
    "Ann\r\nBcc: x@example.com",
    "Ann\u2028Bcc: x@example.com",
    '"=?utf-8?q?A=0D=0ABcc:x=40example.com?=" <x@example.com>',
    "é=?utf-8?q?A=0D=0ABcc:x=40example.com?=",
    "x" * 70 + " =?utf-8?q?A=0D=0ABcc:x=40example.com?=",
]


def own_headers_alone(data: bytes) -> None:
    block, _, body = data.partition(b"\r\n\r\n")
    names = [line.partition(b":")[0].decode() for line in block.split(b"\r\n") if line[:1] not in b" \t"]
    assert set(names) <= OWN_HEADERS
    assert len(names) == len(set(names))
    assert b"\r" not in block.replace(b"\r\n", b"")
    assert b"\n" not in block.replace(b"\r\n", b"")
    assert body.startswith(b"--=_"), "the body begins with the first part's boundary"


@pytest.mark.parametrize("injection", INJECTIONS)
def test_a_name_adds_no_header_and_no_body_to_any_kind_of_mail(
    injection: str, smtp_settings: Settings, smtp_server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for names in ("_PLAIN", "_LONG"):
        monkeypatch.setattr(samples, names, BetNames(injection, injection, injection))
    monkeypatch.setattr(samples, "_HOSTILE", injection)
    sent = [
        dataclasses.replace(sample.mail, to_name=sample.mail.to_name and injection)
        for sample in samples.samples()
    ]
    sender = SmtpSender(smtp_settings)
    for mail in sent:
        sender.send(mail)
    sender.close()
    assert len(smtp_server.received) == len(sent) >= 16
    for received in smtp_server.received:
        own_headers_alone(received.data)
        assert received.recipient == "ann@customer.example"
        assert [one.addr_spec for one in received.message["To"].addresses] == ["ann@customer.example"]


@pytest.mark.parametrize("injection", INJECTIONS)
@pytest.mark.parametrize("field", ["to_name", "subject"])
def test_a_field_that_holds_anything_is_one_line_of_its_own_header(field: str, injection: str) -> None:
    own_headers_alone(to_bytes(outgoing(**{field: injection}), "Exchange <mail@exchange.example>"))


@pytest.mark.parametrize("injection", INJECTIONS)
def test_the_senders_own_name_adds_no_header(injection: str) -> None:
    sender = f'"{injection}" <mail@exchange.example>'.replace("\r", " ").replace("\n", " ")
    try:
        data = to_bytes(outgoing(), sender)
    except InvalidMail:
        return
    own_headers_alone(data)


def test_an_address_or_a_link_that_would_add_a_header_is_refused(
    smtp_settings: Settings, smtp_server: SmtpServer
) -> None:
    sender = SmtpSender(smtp_settings)
    for changes in (
        {"to_address": "=?utf-8?q?a=0D=0ABcc:x?=@customer.example"},
        {"to_address": "ann@customer.example\r\nBcc: x@example.com"},
        {"unsubscribe_url": "https://exchange.example/\r\nBcc: x@example.com"},
    ):
        with pytest.raises(MessageRefused):
            sender.send(outgoing(**changes))
    sender.close()
    assert smtp_server.received == []


def test_an_address_that_reads_as_an_encoded_word_is_no_accounts_address() -> None:
    with pytest.raises(InvalidAddress, match="encoded word"):
        parse_address("=?utf-8?q?a=0d=0abcc?=@example.com")


def test_a_header_that_breaks_its_line_all_the_same_is_not_sent() -> None:
    message = compose(outgoing(), "mail@exchange.example")
    broken = default.header_factory("X-Broken", "quiet")
    assert wire_bytes(message)
    message._headers.append(("X-Broken", broken))  # type: ignore[attr-defined]
    message.policy = message.policy.clone(max_line_length=None)
    message._headers[-1] = ("Message-ID", "<a@b>\r\nBcc: x@example.com")  # type: ignore[attr-defined]
    with pytest.raises(InvalidMail, match="line break"):
        wire_bytes(message)


@given(text=st.text(alphabet="=?\u200b\r\n qQbB_utf-8:@ADé", max_size=60))
def test_header_text_never_holds_the_start_of_an_encoded_word(text: str) -> None:
    shown = header_text(text, 200)
    assert "=?" not in shown
    assert header_text(shown, 200) == shown
