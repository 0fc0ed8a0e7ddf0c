"""The run that notifies, killed again and again under load: no change without its mail and its message, and
few of them twice.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from exchange_platform.domain.bets import Bet, BetResult
from exchange_platform.notifications.topic import MAX_IN_ROUND
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.bets.outbox import NOTIFICATIONS
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import Database, outbox
from exchange_platform.stores.operational.mails.figures import notification_figures
from exchange_platform.stores.operational.tables.mails import mail_changes
from tests.exchange_platform.stores.bet_lives import matched, opened, settled
from tests.support.notification_parts import Subscriber, change, mail_states, ready, register
from tests.support.platform_parts import environment, wait_for
from tests.support.smtp_server import SmtpServer

KILLS = 20
USERS = 30


@pytest.fixture
def smtp_server() -> Iterator[SmtpServer]:
    """A server that takes a moment for each mail, so that some are always under way."""
    server = SmtpServer(answer_after_s=0.01).start()
    yield server
    server.stop()


def start_notifier(settings: Settings) -> subprocess.Popen[bytes]:
    """A run as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.notifier_process"],
        env=environment(settings),
        stderr=subprocess.DEVNULL,
    )


class Load:
    """Bets of many users that are opened, matched and settled until told to stop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._change)
        self.lives: list[list[Bet]] = []

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._enough.set()
        self._thread.join()

    def _change(self) -> None:
        while not self._enough.wait(0.4):
            now = datetime.now(UTC)
            first = len(self.lives)
            for number in range(first, first + 4):
                bet = opened(
                    bet_id=f"b{number:06d}", user_id=f"u{number % USERS}", placed_at=now, updated_at=now
                )
                filled = matched(bet)
                self.lives.append([bet, filled, settled(filled, BetResult.WON)])
            for step in range(3):
                change(self._database, *(life[step] for life in self.lives[first:]))


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_twenty_kills_lose_nothing_and_repeat_only_what_was_under_way(
    settings: Settings, smtp_server: SmtpServer
) -> None:
    notifying = settings.model_copy(
        update={
            "mail_sender": "smtp",
            "mail_from": "Exchange <mail@exchange.example>",
            "mail_rate_per_s": 2000.0,
            "smtp_host": "127.0.0.1",
            "smtp_port": smtp_server.port,
            "smtp_security": "none",
            "stale_heartbeat_s": 1.5,
        }
    )
    database = ready(notifying)
    for number in range(USERS):
        register(database, f"u{number}")
    subscriber = Subscriber(notifying)
    chance = random.Random(20)
    rows = ConsumerRows(database)
    kills_s: list[float] = []

    def works(pid: int) -> bool:
        newest = rows.newest(NOTIFICATIONS)
        return newest is not None and newest.run_id == f"pid-{pid}" and newest.records > 0

    with Load(database) as load:
        for _ in range(KILLS):
            process = start_notifier(notifying)
            wait_for(lambda: works(process.pid), timeout_s=60)  # noqa: B023
            time.sleep(chance.uniform(0.0, 0.8))  # at any moment of its work
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills_s.append(time.time())
            subscriber.take()
    last = start_notifier(notifying)

    def is_done() -> bool:
        figures = notification_figures(database, now_us=time.time_ns() // 1000)
        return not (figures.waiting or figures.later or figures.unread or figures.unpublished)

    wait_for(is_done, timeout_s=240)
    last.send_signal(signal.SIGTERM)
    assert last.wait(timeout=30) == 0

    with database.read() as connection:
        changes = connection.execute(sa.select(sa.func.count()).select_from(outbox)).scalar_one()
        told = connection.execute(sa.select(sa.func.count()).select_from(mail_changes)).scalar_one()
    states = mail_states(database)
    assert changes == told == 3 * len(load.lives) == len(states)
    assert set(states.values()) == {"sent"}

    ids = Counter(one.message_id for one in smtp_server.received)
    assert len(ids) == changes
    repeats = sum(ids.values()) - len(ids)
    first_seen: dict[str, float] = {}
    after_kill: Counter[float] = Counter()
    bodies: dict[str, bytes] = {}
    for one in smtp_server.received:
        if one.message_id in first_seen:
            # What the server had accepted when the run was killed, and nothing else: the same mail to the
            # byte.
            assert bodies[one.message_id] == one.data
            kill_s = next(kill for kill in kills_s if kill >= first_seen[one.message_id] - 1.0)
            assert kill_s - first_seen[one.message_id] < 1.0, "not within the stated window"
            after_kill[kill_s] += 1
        first_seen.setdefault(one.message_id, one.at_s)
        bodies.setdefault(one.message_id, one.data)
    assert max(after_kill.values(), default=0) <= notifying.mail_connections

    messages = subscriber.take()
    published = Counter((one["bet_id"], one["version"]) for one in messages)
    assert len(published) == changes
    repeated = sum(published.values()) - len(published)
    assert repeated <= KILLS * MAX_IN_ROUND
    for life in load.lives:
        versions = [one["version"] for one in messages if one["bet_id"] == life[0].bet_id]
        assert list(dict.fromkeys(versions)) == [1, 2, 3], "a change overtook an earlier one"
    print(
        f"\n{KILLS} kills, {changes} changes: {repeats} mails twice (each within {notifying.mail_connections} under way"
        f" at a kill), {repeated} messages twice"
    )
    database.dispose()
