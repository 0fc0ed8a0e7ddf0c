"""SMTP connections to servers that may do anything: each reply is bounded in bytes, each step in total time.
What a reply means stands in smtp.py.

`smtplib` gives every single `recv` its time-out and collects a reply of many lines without an end, so a
server that drips bytes holds a mail for ever, and one that greets for ever fills the memory.
"""

from __future__ import annotations

import re
import smtplib
import time
from typing import Any

MAX_REPLY_BYTES = 64 * 1024
"""A reply's lines in all. RFC 5321 (4.5.3.1.5) gives a line 512 bytes; a long greeting or EHLO has some
dozens of lines.
"""
_RECEIVE_BYTES = 4096
_LINE = re.compile(rb"^(\d{3})([ -]?)(.*)$", re.DOTALL)


class _Bounded(smtplib.SMTP):
    """Reads replies and writes commands within `timeout` seconds each, whatever the pace of the server."""

    _received: bytes = b""
    _received_from: Any = None

    def getreply(self) -> tuple[int, bytes]:
        """One reply. Raises `SMTPServerDisconnected` and `SMTPResponseException` as smtplib does, and
        `TimeoutError`.
        """
        until_s = self._deadline_s()
        lines: list[bytes] = []
        size = 0
        while True:
            line = self._line(until_s, MAX_REPLY_BYTES - size)
            size += len(line)
            matched = _LINE.match(line.rstrip(b"\r\n"))
            if matched is None:
                self.close()
                raise smtplib.SMTPResponseException(-1, b"no SMTP reply: " + line[:80])
            lines.append(matched[3].strip(b" \t"))
            if matched[2] != b"-":
                return int(matched[1]), b"\n".join(lines)

    def send(self, s: Any) -> None:
        """Send all of it. Raises `SMTPServerDisconnected`, and `TimeoutError` when the server does not take
        it in time.
        """
        if not self.sock:
            raise smtplib.SMTPServerDisconnected("please run connect() first")
        left = memoryview(s.encode(self.command_encoding) if isinstance(s, str) else bytes(s))
        until_s = self._deadline_s()
        try:
            while left:
                self._wait_until(until_s)
                left = left[self.sock.send(left) :]
        except OSError as error:
            self.close()
            if isinstance(error, TimeoutError):
                raise
            raise smtplib.SMTPServerDisconnected("Server not connected") from None

    def _line(self, until_s: float, room: int) -> bytes:
        """The next line, with its end. What came before the connection became another one (STARTTLS) is not
        part of it.
        """
        sock = self.sock
        if sock is None:
            raise smtplib.SMTPServerDisconnected("please run connect() first")
        if self._received_from is not sock:
            self._received, self._received_from = b"", sock
        while b"\n" not in self._received:
            if len(self._received) > room:
                break
            self._wait_until(until_s)
            try:
                some = sock.recv(_RECEIVE_BYTES)
            except TimeoutError:
                self.close()
                raise
            except OSError as error:
                self.close()
                raise smtplib.SMTPServerDisconnected(f"Connection unexpectedly closed: {error}") from None
            if not some:
                self.close()
                raise smtplib.SMTPServerDisconnected("Connection unexpectedly closed")
            self._received += some
        line, end, following = self._received.partition(b"\n")
        if not end or len(line) > room:
            self.close()
            raise smtplib.SMTPResponseException(500, f"a reply of more than {MAX_REPLY_BYTES} bytes".encode())
        self._received = following
        return line + end

    def _deadline_s(self) -> float:
        return time.monotonic() + float(self.timeout)

    def _wait_until(self, until_s: float) -> None:
        """Let the next call on the socket end by then. Raises `TimeoutError` if it is past."""
        left_s = until_s - time.monotonic()
        if left_s <= 0 or self.sock is None:
            self.close()
            raise TimeoutError("the server took longer than its time")
        self.sock.settimeout(left_s)


class PlainConnection(_Bounded):
    """A connection that begins without TLS. `starttls` may follow."""


class TlsConnection(_Bounded, smtplib.SMTP_SSL):
    """A connection that is TLS from its start."""
