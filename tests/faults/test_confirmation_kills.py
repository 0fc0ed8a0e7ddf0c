"""The run that mails confirmations killed again and again while people register: everybody gets a mail, and
every mail's code is good.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator

import pytest

from exchange_platform.confirmation.service import Pressed
from exchange_platform.domain.accounts import AccountState
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.schema import migrate_database
from tests.support.account_parts import CLIENT, AccountParts, codes_in
from tests.support.platform_parts import environment, wait_for
from tests.support.smtp_server import SmtpServer

pytestmark = pytest.mark.faults

KILLS, ACCOUNTS, CONNECTIONS = 12, 240, 4


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    server = SmtpServer(answer_after_s=0.05).start()
    yield server
    server.stop()


@pytest.fixture
def parts(settings: Settings, smtp: SmtpServer) -> Iterator[AccountParts]:
    own = Settings(
        **settings.model_dump(include=settings.model_fields_set),
        mail_sender="smtp",
        mail_from="Exchange <mail@exchange.example>",
        mail_connections=CONNECTIONS,
        smtp_host="127.0.0.1",
        smtp_port=smtp.port,
        smtp_security="none",
        stale_heartbeat_s=1.5,
        mail_retry_first_s=0.2,
        limit_registrations_client="2000/second",
        limit_registrations="2000/second",
        limit_confirmations_client="2000/second",
    )
    database = Database(own.operational_database_url)
    migrate_database(database)
    database.dispose()
    made = AccountParts(own)
    made.clock.now = SYSTEM_CLOCK.now_us()
    yield made
    made.close()


def _start(settings: Settings) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.confirming_process"], env=environment(settings)
    )


def test_everybody_is_mailed_however_often_the_run_is_killed(parts: AccountParts, smtp: SmtpServer) -> None:
    chance = random.Random(3)
    ids: dict[str, str] = {}

    def register_some(count: int) -> None:
        for _ in range(count):
            address = f"ann{len(ids)}@example.com"
            parts.clock.now = SYSTEM_CLOCK.now_us()
            ids[address] = parts.register(address)

    for _ in range(KILLS):
        process = _start(parts.settings)
        mailed = len(smtp.received)
        registering = threading.Thread(target=register_some, args=(ACCOUNTS // KILLS,))
        registering.start()
        wait_for(lambda mailed=mailed: len(smtp.received) > mailed + chance.randrange(8))  # type: ignore[misc]
        process.kill()
        process.wait()
        registering.join()
    process = _start(parts.settings)
    wait_for(lambda: len({mail.recipient for mail in smtp.received}) == ACCOUNTS)
    wait_for(lambda: parts.mails.standing().waiting == 0)
    process.terminate()
    process.wait()

    mails = defaultdict(list)
    for mail in smtp.received:
        mails[mail.recipient].append(mail)
    repeats = len(smtp.received) - ACCOUNTS
    print(f"{KILLS} kills, {ACCOUNTS} accounts, {repeats} mails twice")
    assert repeats <= KILLS * CONNECTIONS
    assert all(len({mail.message_id for mail in some}) == 1 for some in mails.values())
    parts.clock.now = SYSTEM_CLOCK.now_us()
    for address, some in mails.items():
        codes = codes_in(mail.text for mail in some)
        chance.shuffle(codes)
        pressed = [parts.service.confirm(code, CLIENT) for code in codes]
        assert pressed == [Pressed.CONFIRMED] + [Pressed.USED] * (len(codes) - 1)
        assert parts.account(ids[address]).state is AccountState.CONFIRMED
