"""A mail as bytes: what any mail reader makes of it, whatever was typed into names and subjects."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.mail.message import InvalidMail, message_id, one_line, to_bytes
from tests.exchange_platform.mail.mails import outgoing

FROM = "Exchange <mail@exchange.example>"
HEADERS = [
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
]


def parsed(**changes: Any) -> EmailMessage:
    return email.message_from_bytes(to_bytes(outgoing(**changes), FROM), policy=email.policy.default)


def test_a_mail_has_text_html_and_one_click_unsubscribing() -> None:
    message = parsed()
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert message["List-Unsubscribe"] == "<https://exchange.example/unsubscribe?token=a.b>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["Date"].datetime == outgoing().written_at.replace(microsecond=0)
    assert message["Auto-Submitted"] == "auto-generated"
    without = parsed(unsubscribe_url=None)
    assert without["List-Unsubscribe"] is None


def test_the_same_mail_is_the_same_bytes_and_another_has_another_id() -> None:
    assert to_bytes(outgoing(), FROM) == to_bytes(outgoing(), FROM)
    assert message_id("bet.b1.1", FROM) == message_id("bet.b1.1", "Other Name <mail@exchange.example>")
    assert message_id("bet.b1.1", FROM) != message_id("bet.b1.2", FROM)
    assert parsed()["Message-ID"] == f"<{message_id('bet.b1.1', FROM)}>"


def test_a_long_link_stays_whole_on_its_line() -> None:
    url = f"https://exchange.example/unsubscribe?token={'a' * 300}.{'b' * 43}"
    assert f"List-Unsubscribe: <{url}>\r\n".encode() in to_bytes(outgoing(unsubscribe_url=url), FROM)


@given(
    name=st.text(max_size=150),
    subject=st.text(max_size=300),
    text=st.text(max_size=2000),
)
def test_whatever_is_typed_no_header_is_added_and_no_line_is_too_long(
    name: str, subject: str, text: str
) -> None:
    text, name, subject = (one.encode("utf-8", "ignore").decode() for one in (text, name, subject))
    data = to_bytes(outgoing(to_name=name, subject=subject, text=text), FROM)
    assert all(len(line) <= 998 for line in data.split(b"\r\n"))
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert list(message.keys()) == HEADERS
    (to,) = message["To"].addresses
    assert to.addr_spec == "ann@customer.example"
    assert not any(ord(char) < 32 for char in to.display_name + str(message["Subject"]))


@pytest.mark.parametrize("evil", ["\r\n", "\n", "\r", "\u2028", "\x0b", "\x00"])
def test_a_line_break_in_a_name_or_subject_is_a_space(evil: str) -> None:
    message = parsed(to_name=f"Ann{evil}Bcc: eve@x.example", subject=f"Won{evil}X-Evil: 1")
    assert list(message.keys()) == HEADERS
    assert message["To"].addresses[0].display_name == "Ann Bcc: eve@x.example"
    assert str(message["Subject"]) == "Won X-Evil: 1"


def test_what_turns_the_text_around_it_or_shows_nothing_is_left_out() -> None:
    assert one_line("Ann\u202e gpj.\u200bexe\ufeff", 100) == "Ann gpj.exe"
    assert one_line("  many   words\t here ", 100) == "many words here"
    assert one_line("x" * 30, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ann",
        "@x.example",
        "ann@",
        "ann@x.example\r\nBcc: eve@x.example",
        "ann@x.example, eve@x.example",
        "ann <ann@x.example>",
        "an n@x.example",
        "ann@x@y",
        "änn@x.example",
    ],
)
def test_an_address_that_no_header_can_hold_is_refused(address: str) -> None:
    with pytest.raises(InvalidMail, match="no address"):
        to_bytes(outgoing(to_address=address), FROM)


def test_a_domain_of_another_script_goes_out_in_ascii() -> None:
    assert parsed(to_address="ann@bücher.example")["To"].addresses[0].domain == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    "url", ["https://x.example/a b", "https://x.example/\r\nX: 1", "https://x.example/ä"]
)
def test_a_link_that_can_not_stand_in_a_header_is_refused(url: str) -> None:
    with pytest.raises(InvalidMail):
        to_bytes(outgoing(unsubscribe_url=url), FROM)
