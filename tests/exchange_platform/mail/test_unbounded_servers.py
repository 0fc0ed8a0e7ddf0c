"""SMTP servers that never end a reply, drip it, or take nothing: the sender gives up in bounded time and
memory.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from exchange_platform.mail.sender import SenderUnavailable, TryAgain
from exchange_platform.mail.senders.smtp import SmtpSender
from exchange_platform.mail.senders.smtp_connection import MAX_REPLY_BYTES
from exchange_platform.settings import Settings
from tests.exchange_platform.mail.mails import outgoing

SECOND_S = 0.4
"""The sender's time-out in these tests: far below what the servers would take, far above what a busy machine
needs to notice.
"""


@contextlib.contextmanager
def serving(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server whose every connection is handed to `talk`, in a thread."""
    listening = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=quietly, args=(connection,), daemon=True)
            threads.append(thread)
            thread.start()

    def quietly(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            talk(connection)

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        accepting.join(5)
        for thread in threads:
            thread.join(5)


def endless_greeting(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"220-welcome\r\n" * 1000)


def one_endless_line(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"2" * 65536)


def dripping(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"2")
        time.sleep(0.05)


def dripping_after_the_greeting(connection: socket.socket) -> None:
    connection.sendall(b"220 hello\r\n")
    while True:
        connection.sendall(b"250-x\r\n")
        time.sleep(0.05)


def no_smtp(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    connection.recv(100)


@pytest.mark.parametrize(
    "talk", [endless_greeting, one_endless_line, dripping, dripping_after_the_greeting, no_smtp]
)
def test_a_server_without_an_end_is_left_in_bounded_time_and_memory(
    smtp_settings: Settings, talk: Callable[[socket.socket], None]
) -> None:
    with serving(talk) as port:
        settings = smtp_settings.model_copy(update={"smtp_port": port, "smtp_timeout_s": SECOND_S})
        sender = SmtpSender(settings)
        tracemalloc.start()
        began = time.monotonic()
        with pytest.raises(SenderUnavailable):
            sender.send(outgoing())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert time.monotonic() - began < 20 * SECOND_S
    assert peak < 40 * MAX_REPLY_BYTES


def answering(connection: socket.socket, data_reply: Callable[[socket.socket], None]) -> None:
    connection.sendall(b"220 hello\r\n")
    with connection.makefile("rb") as lines:
        in_data = False
        for line in lines:
            if in_data:
                if line == b".\r\n":
                    data_reply(connection)
                    return
            elif line.upper().startswith(b"DATA"):
                in_data = True
                connection.sendall(b"354 go on\r\n")
            else:
                connection.sendall(b"250 fine\r\n")


def test_a_reply_to_the_mail_that_is_dripped_means_try_again(smtp_settings: Settings) -> None:
    with serving(lambda connection: answering(connection, dripping)) as port:
        settings = smtp_settings.model_copy(update={"smtp_port": port, "smtp_timeout_s": SECOND_S})
        with pytest.raises(TryAgain):
            SmtpSender(settings).send(outgoing())


def test_a_server_that_takes_no_bytes_is_left(smtp_settings: Settings) -> None:
    def deaf(connection: socket.socket) -> None:
        connection.sendall(b"220 hello\r\n")
        with connection.makefile("rb", buffering=0) as lines:
            for line in iter(lines.readline, b""):
                if line.upper().startswith(b"DATA"):
                    connection.sendall(b"354 go on\r\n")
                    released.wait(30)
                    return
                connection.sendall(b"250 fine\r\n")

    released = threading.Event()
    with serving(deaf) as port:
        settings = smtp_settings.model_copy(update={"smtp_port": port, "smtp_timeout_s": SECOND_S})
        began = time.monotonic()
        with pytest.raises(TryAgain):
            SmtpSender(settings).send(outgoing(text="x" * 70 + "\n" + ("y" * 70 + "\n") * 200_000))
        assert time.monotonic() - began < 60 * SECOND_S
        released.set()


def test_what_a_server_says_can_not_steer_a_terminal(smtp_settings: Settings) -> None:
    def rude(connection: socket.socket) -> None:
        connection.sendall(b"554 \x1b]0;owned\x07\x1b[31mgo away\r\n")
        connection.recv(100)

    with serving(rude) as port, pytest.raises(SenderUnavailable) as refused:
        SmtpSender(smtp_settings.model_copy(update={"smtp_port": port})).send(outgoing())
    assert str(refused.value).isprintable()
    assert "go away" in str(refused.value)
