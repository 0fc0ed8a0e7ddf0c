"""The outbox on MariaDB: writers at once, and no change lost behind a reader's position.

CI starts the server (.ci/run). Without `EXCHANGE_PLATFORM_TEST_MYSQL_URL` these tests skip.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from exchange_platform.settings import Settings
from exchange_platform.stores.operational.bets.bets import apply_bet_updates
from exchange_platform.stores.operational.bets.outbox import Outbox
from exchange_platform.stores.operational.database import Database
from tests.exchange_platform.stores.bet_lives import matched, opened
from tests.support.notification_parts import (
    Subscriber,
    change,
    mail_states,
    ready,
    register,
    running_notifier,
)
from tests.support.platform_parts import wait_for
from tests.support.smtp_server import SmtpServer

pytestmark = pytest.mark.servers
URL = "EXCHANGE_PLATFORM_TEST_MYSQL_URL"
WRITERS, EACH = 4, 60


class _RolledBack(Exception):
    """A writer that changes its mind."""


@pytest.fixture
def on_mariadb(notifying: Settings) -> Iterator[Settings]:
    """Settings with a database of their own on the server."""
    if URL not in os.environ:
        pytest.skip(f"no MariaDB: {URL} is not set (.ci/run starts one)")
    server = sa.make_url(os.environ[URL])
    name = f"test_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(server, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} CHARACTER SET utf8mb4"))
    url = server.set(database=name).render_as_string(hide_password=False)
    yield notifying.model_copy(update={"database_url": SecretStr(url)})
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name}"))
    engine.dispose()


def write_at_once(database: Database) -> None:
    """Several writers change bets of their own, each in many transactions; some are rolled back."""

    def write(writer: int) -> None:
        for number in range(EACH):
            now = datetime.now(UTC)
            bet = opened(bet_id=f"w{writer}-{number}", user_id=f"u{writer}", placed_at=now, updated_at=now)
            if number % 7 == 0:
                with suppress(_RolledBack), database.write() as connection:
                    apply_bet_updates(connection, [bet])
                    raise _RolledBack
            change(database, bet, matched(bet))

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_whoever_reads_a_sequence_has_seen_every_lower_one(on_mariadb: Settings) -> None:
    database = ready(on_mariadb)
    outbox = Outbox(database)
    seen: list[int] = []
    enough = threading.Event()

    def read() -> None:
        while True:
            last = enough.is_set()
            seen.extend(row[0] for row in outbox.owners_after(seen[-1] if seen else 0, 50))
            if last:
                return

    reader = threading.Thread(target=read)
    reader.start()
    write_at_once(database)
    enough.set()
    reader.join()
    while rows := outbox.owners_after(seen[-1], 50):
        seen.extend(row[0] for row in rows)
    assert len(seen) == WRITERS * EACH * 2
    assert seen == sorted(seen)
    assert outbox.newest() == seen[-1] == len(seen)
    database.dispose()


def test_every_change_is_mailed_and_published_while_several_write(
    on_mariadb: Settings, smtp_server: SmtpServer
) -> None:
    database = ready(on_mariadb)
    for writer in range(WRITERS):
        register(database, f"u{writer}")
    subscriber = Subscriber(on_mariadb)
    count = WRITERS * EACH * 2
    with running_notifier(on_mariadb):
        write_at_once(database)
        wait_for(lambda: list(mail_states(database).values()).count("sent") == count, timeout_s=120)
        wait_for(lambda: len(subscriber.take()) == count, timeout_s=60)
    assert len({one.message_id for one in smtp_server.received}) == len(smtp_server.received) == count
    for message in subscriber.messages:
        assert message["user_id"] == f"u{message['bet_id'][1]}"
    database.dispose()
