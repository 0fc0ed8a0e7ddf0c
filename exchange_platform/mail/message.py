"""A mail as it leaves: its headers and its two bodies as bytes. Not here: what it says (rendering.py,
templates/), or sending it (senders/).

The same mail always gives the same bytes, so a mail that is sent twice after a crash is the same mail, with
the same Message-ID.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from email.utils import format_datetime, parseaddr
from typing import Any

MAX_NAME, MAX_SUBJECT = 100, 200
_ENCODED_WORD_START = re.compile(r"=(?=\?)")


class InvalidMail(ValueError):
    """An address that no header can hold. The message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class OutgoingMail:
    """One mail, rendered. `mail_id` names it for ever: the Message-ID is made of it.

    Nothing in `to_name` or `subject` can become a header of its own, whatever they hold.
    """

    mail_id: str
    to_address: str
    to_name: str
    subject: str
    text: str
    html: str
    written_at: datetime
    unsubscribe_url: str | None = None
    lifts_suppression: bool = False
    """Whether the mail is to be tried although its address bounced before: its owner asked for it since."""


def message_id(mail_id: str, mail_from: str) -> str:
    """The Message-ID of a mail, without the angle brackets: the same for the same mail, and nothing can be
    read from it.
    """
    digest = hashlib.sha256(mail_id.encode()).hexdigest()[:32]
    return f"{digest}@{sender_address(mail_from).domain}"


def sender_address(mail_from: str) -> Address:
    """`mail_from` (such as `Exchange <mail@exchange.example>`) as an address. Raises `InvalidMail`."""
    name, address = parseaddr(mail_from)
    return _address(header_text(name, MAX_NAME), address)


def one_line(text: str, most: int) -> str:
    """The text as one line without control characters or changes of writing direction, cut to `most`
    characters.
    """
    kept = "".join(
        " " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char
        for char in text
        if unicodedata.category(char) not in ("Cf", "Cs", "Co", "Cn")
    )
    line = " ".join(kept.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def header_text(text: str, most: int) -> str:
    """`one_line` of the text, in which nothing reads as an encoded word (RFC 2047): `=?utf-8?q?...?=` becomes
    `= ?utf-8?q?...?=`.

    The standard library decodes encoded words in whatever it is given, and before Python 3.11.10 and 3.12.5
    it wrote the line breaks that were hidden in them into the header (CVE-2024-6923). A reader would decode
    them too, and show a name that nobody checked.
    """
    return _ENCODED_WORD_START.sub("= ", one_line(text, most))


def recipient(mail: OutgoingMail) -> Address:
    """Whom the mail goes to, the domain in ASCII. Raises `InvalidMail`."""
    return _address(header_text(mail.to_name, MAX_NAME), mail.to_address)


def compose(mail: OutgoingMail, mail_from: str) -> EmailMessage:
    """The mail as a MIME message: text and HTML, one recipient. Raises `InvalidMail`."""
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender_address(mail_from)
    message["To"] = recipient(mail)
    message["Subject"] = header_text(mail.subject, MAX_SUBJECT)
    message["Date"] = format_datetime(mail.written_at)
    message["Message-ID"] = f"<{message_id(mail.mail_id, mail_from)}>"
    # RFC 3834: no vacation notices in answer to it.
    message["Auto-Submitted"] = "auto-generated"
    if mail.unsubscribe_url is not None:
        # RFC 8058.
        message["List-Unsubscribe"] = f"<{_url(mail.unsubscribe_url)}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    message.set_boundary(f"=_{hashlib.sha256(mail.mail_id.encode()).hexdigest()[32:]}")
    return message


def to_bytes(mail: OutgoingMail, mail_from: str) -> bytes:
    """The mail as it goes over the wire, lines ended by CRLF. Raises `InvalidMail`."""
    return wire_bytes(compose(mail, mail_from))


def wire_bytes(message: EmailMessage) -> bytes:
    """The message's bytes. Raises `InvalidMail` unless its header block holds exactly the message's own
    headers, each once.

    Whatever the interpreter's writer of headers gets wrong ends here, before anything is sent.
    """
    data = message.as_bytes()
    block = data.partition(b"\r\n\r\n")[0]
    lines = re.split(rb"\r\n|\r|\n", block)
    written = [line.partition(b":")[0] for line in lines if not line.startswith((b" ", b"\t"))]
    if b"\r\n".join(lines) != block or written != [name.encode() for name in message.keys()]:  # noqa: SIM118
        raise InvalidMail("a header would hold a line break; the mail is not sent")
    return data


class _Policy(EmailPolicy):
    """SMTP's, but a URL or an id is never broken or encoded, however long: no reader would put it together
    again.
    """

    def fold(self, name: str, value: Any) -> str:
        if name.lower() in ("list-unsubscribe", "message-id"):
            return f"{name}: {value}{self.linesep}"
        return str(super().fold(name, value))

    def fold_binary(self, name: str, value: Any) -> bytes:
        return self.fold(name, value).encode("ascii")


_POLICY = _Policy(linesep=SMTP.linesep)


def _address(name: str, address: str) -> Address:
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain or header_text(address, 320) != address or " " in address:
        raise InvalidMail(f"{address!r} is no address that a mail could be sent to")
    try:
        ascii_domain = domain.encode("idna").decode() if not domain.isascii() else domain
        return Address(display_name=name, addr_spec=f"{local}@{ascii_domain}")
    except (ValueError, UnicodeError, IndexError) as error:
        raise InvalidMail(f"{address!r} is no address that a mail could be sent to: {error}") from None
    except (
        Exception
    ) as error:  # the parser of the standard library raises errors of several kinds on strange input
        raise InvalidMail(f"{address!r} is no address that a mail could be sent to: {error}") from error


def _url(url: str) -> str:
    if not url.isascii() or any(char in url for char in " <>\r\n\t\x00"):
        raise InvalidMail(f"{url!r} can't stand in a header")
    return url
