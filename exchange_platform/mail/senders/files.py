"""Mails as `.eml` files in a folder: the embedded default, and what reads them back. Not here: showing them
(cli/mail.py).
"""

from __future__ import annotations

import email
import email.policy
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path

from exchange_platform.mail.message import InvalidMail, OutgoingMail, message_id, to_bytes
from exchange_platform.mail.sender import MessageRefused, SenderUnavailable

_UNFINISHED = ".part"
_ID_CHARACTERS = 12


class FileSender:
    """Writes each mail as a file that is either whole or not there. A mail that is sent again replaces
    itself.
    """

    def __init__(self, folder: Path, mail_from: str) -> None:
        self._folder = folder
        self._mail_from = mail_from

    def send(self, mail: OutgoingMail) -> None:
        """Write the mail; durable on return as far as the file system is."""
        try:
            data = to_bytes(mail, self._mail_from)
        except InvalidMail as error:
            raise MessageRefused(str(error)) from None
        unique = message_id(mail.mail_id, self._mail_from)[:_ID_CHARACTERS]
        name = f"{mail.written_at:%Y%m%dT%H%M%S}.{mail.written_at.microsecond:06d}-{unique}.eml"
        path = self._folder / name
        unfinished = path.with_suffix(f".{os.getpid()}{_UNFINISHED}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # a confirmation holds its code
            unfinished.write_bytes(data)
            unfinished.replace(path)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise SenderUnavailable(f"{path} can't be written: {error.strerror or error}") from error

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True, slots=True)
class KeptMail:
    """One mail of the folder. `number` is the end of its file's name: what people call it by."""

    number: str
    path: Path
    message: EmailMessage

    @property
    def written_at(self) -> datetime | None:
        """Its date, if it has one."""
        header = self.message["Date"]
        return header.datetime if header is not None else None

    def header(self, name: str) -> str:
        """A header's text; empty where there is none."""
        return str(self.message.get(name, ""))

    @property
    def text(self) -> str:
        """The plain text body."""
        return self._body("plain")

    @property
    def html(self) -> str:
        """The HTML body."""
        return self._body("html")

    def _body(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        return str(part.get_content()).replace("\r\n", "\n") if part is not None else ""


class MailFolder:
    """The mails that the embedded sender wrote."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def newest(self, limit: int | None = None) -> Iterator[KeptMail]:
        """The mails, newest first."""
        try:
            names = sorted((path.name for path in self._folder.glob("*.eml")), reverse=True)
        except OSError:
            return
        for name in names[:limit]:
            with suppress(OSError):
                yield self._read(self._folder / name)

    def find(self, number: str) -> list[KeptMail]:
        """The mails whose number begins so."""
        if not number or not number.isalnum():
            return []
        return [self._read(path) for path in sorted(self._folder.glob(f"*-{number}*.eml"))]

    def count(self) -> int:
        """How many there are."""
        return sum(1 for _ in self._folder.glob("*.eml")) if self._folder.is_dir() else 0

    def _read(self, path: Path) -> KeptMail:
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        return KeptMail(path.stem.rpartition("-")[2], path, message)
