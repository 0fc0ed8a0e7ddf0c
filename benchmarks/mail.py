"""Mails a second from the outbox to a local SMTP server, and what the notifier costs the bets' consumer.

Baseline of the first: the same mails by bare smtplib over one connection. Of the second: the same commits
with no notifier beside them.

python -m benchmarks.mail [--mails N] [--rate N] [--seconds N]
"""

from __future__ import annotations

import argparse
import os
import smtplib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.stage import emulator
from exchange_platform.domain.bets import Bet
from exchange_platform.local.programs import free_ports
from exchange_platform.mail.message import to_bytes
from exchange_platform.notifications.samples import samples
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.bets.bets import apply_bet_updates
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.mails.figures import notification_figures
from tests.exchange_platform.stores.bet_lives import matched, opened
from tests.support.notification_parts import change, ready, register
from tests.support.platform_parts import environment

FROM = "Exchange <mail@exchange.example>"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mails", type=int, default=2_000)
    parser.add_argument("--rate", type=int, default=1_000, help="bet updates a second beside the notifier")
    parser.add_argument("--seconds", type=int, default=30)
    arguments = parser.parse_args()
    with smtp_sink() as port:
        bare = _bare(port, arguments.mails)
        ours = _ours(port, arguments.mails)
        print(
            f"{arguments.mails:,} mails: {ours:,.0f}/s from the outbox, each marked"
            f" | bare smtplib, one connection: {bare:,.0f}/s | ratio {ours / bare:.2f}"
        )
        without = _commits(port, arguments.rate, arguments.seconds, notifying=False)
        beside = _commits(port, arguments.rate, arguments.seconds, notifying=True)
    for name, (waits, times) in (("no notifier", without), ("a notifier beside it", beside)):
        print(
            f"{arguments.rate:,} bet updates/s, {name}: a commit waits {_quantiles(waits)} for its turn to write"
            f" and takes {_quantiles(times)} in all ({len(times)} commits)"
        )


def _quantiles(times: list[float]) -> str:
    ordered = sorted(times)
    return (
        f"{1000 * statistics.median(ordered):.1f} ms (p99 {1000 * ordered[int(0.99 * len(ordered))]:.1f} ms)"
    )


@contextmanager
def smtp_sink() -> Iterator[int]:
    """A server that accepts and forgets; its port."""
    (port,) = free_ports(1)
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.smtp_sink", str(port)])
    try:
        while True:
            try:
                smtplib.SMTP("127.0.0.1", port).quit()
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


def _bare(port: int, count: int) -> float:
    (mail,) = [sample.mail for sample in samples() if sample.name == "won"]
    data = to_bytes(mail, FROM)
    connection = smtplib.SMTP("127.0.0.1", port)
    began = time.perf_counter()
    for _ in range(count):
        connection.sendmail("mail@exchange.example", [mail.to_address], data)
    seconds = time.perf_counter() - began
    connection.quit()
    return count / seconds


def _sending(settings: Settings, port: int) -> Settings:
    return settings.model_copy(
        update={
            "mail_sender": "smtp",
            "mail_from": FROM,
            "mail_rate_per_s": 100_000.0,
            "smtp_host": "127.0.0.1",
            "smtp_port": port,
            "smtp_security": "none",
        }
    )


@contextmanager
def _notifier(settings: Settings) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.notifier_process"], env=environment(settings)
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _ours(port: int, count: int) -> float:
    with tempfile.TemporaryDirectory() as directory, emulator(Path(directory)) as emulated:
        settings = _sending(emulated, port)
        database = ready(settings)
        for number in range(50):
            register(database, f"u{number}")
        bets = [_bet(number, f"u{number % 50}") for number in range(count)]
        change(database, *bets)

        def sent() -> int:
            return notification_figures(database, now_us=SYSTEM_CLOCK.now_us()).sent

        with _notifier(settings):
            while not sent():
                time.sleep(0.01)
            first, began = sent(), time.perf_counter()
            while sent() < count:
                time.sleep(0.02)
            seconds = time.perf_counter() - began
        database.dispose()
        return (count - first) / seconds


def _commits(port: int, rate: int, seconds: int, *, notifying: bool) -> tuple[list[float], list[float]]:
    """How long each of a consumer's batches, five a second, waited to write and took; one user in twenty has
    an account.
    """
    with tempfile.TemporaryDirectory() as directory, emulator(Path(directory)) as emulated:
        settings = _sending(emulated, port)
        database = ready(settings)
        for number in range(0, 400, 20):
            register(database, f"u{number}")
        if not notifying:
            return _commit_times(database, rate, seconds)
        with _notifier(settings):
            while not notification_figures(database, now_us=SYSTEM_CLOCK.now_us()).published:
                change(database, _bet(10**9 + time.time_ns() % 10**6, "u1"))
                time.sleep(0.2)
            return _commit_times(database, rate, seconds)


def _commit_times(database: Database, rate: int, seconds: int) -> tuple[list[float], list[float]]:
    waits: list[float] = []
    times: list[float] = []
    batch = rate // 10  # bets, each opened and matched
    pause = threading.Event()
    began = time.perf_counter()
    for number in range(seconds * 5):
        pause.wait(max(0.0, began + number / 5 - time.perf_counter()))
        opening = [_bet(number * batch + place, f"u{place % 400}") for place in range(batch)]
        updates = [*opening, *(matched(bet) for bet in opening)]
        at = time.perf_counter()
        with database.write() as connection:
            waits.append(time.perf_counter() - at)
            apply_bet_updates(connection, updates)
        times.append(time.perf_counter() - at)
    database.dispose()
    return waits, times


def _bet(number: int, user_id: str) -> Bet:
    now = datetime.now(UTC)
    return opened(bet_id=f"b{number}", user_id=user_id, placed_at=now, updated_at=now)


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    main()
