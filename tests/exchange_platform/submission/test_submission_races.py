"""Many at once: threads with money for some of them, processes with one submission id. On SQLite, and on
MariaDB where there is one.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from exchange_platform.domain.bet_requests import decode_answer
from exchange_platform.domain.bets import Bet, BetStatus, Side
from exchange_platform.domain.refusals import InsufficientFunds
from exchange_platform.operations import checks
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database, bets
from exchange_platform.stores.operational.wallets.wallets import Wallets
from exchange_platform.submission.service import BetSubmission
from tests.exchange_platform.betting import add_account, add_event, add_market, order
from tests.exchange_platform.recording import RecordingStream
from tests.exchange_platform.stores.bet_lives import later
from tests.exchange_platform.stores.bet_tables import applied
from tests.exchange_platform.submitting import submit_at_once
from tests.support.prepared import prepare_database

THREADS, FUNDED, PROCESSES = 50, 17, 20


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.servers)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "mariadb":
        return str(request.getfixturevalue("mysql_url"))
    return f"sqlite:///{tmp_path / 'operational.sqlite'}"


@pytest.fixture
def shared(url: str) -> Iterator[Database]:
    """A database with an open market, as several processes would find it."""
    database = Database(url, durable=True)
    prepare_database(database)
    add_event(database)
    add_market(database)
    yield database
    database.dispose()


def assert_all_is_right(database: Database) -> None:
    for outcome in (
        checks.money_conserved(database),
        checks.bets_conserved(database),
        checks.books_balanced(database),
        checks.reservations_backed(database),
    ):
        assert outcome.passed, outcome.description


def test_fifty_threads_with_money_for_some_exactly_those_are_accepted(
    shared: Database, tmp_path: Path
) -> None:
    add_account(shared, funds_minor=1000 * FUNDED + 999)
    outcomes: Counter[str] = Counter()
    begin = threading.Barrier(THREADS + 1)
    over = threading.Event()
    seen: list[int] = []

    def submit(submission: BetSubmission, number: int) -> None:
        begin.wait()
        try:
            submission.submit(order(f"s{number}"))
            outcomes["accepted"] += 1
        except InsufficientFunds:
            outcomes["refused"] += 1

    def watch() -> None:
        while not over.wait(0.002):
            seen.append(Wallets(shared).wallet("a1").available_minor)

    # Two submissions, as in two processes: the database alone keeps them apart.
    settings = Settings(data_dir=tmp_path)
    other = Database(shared.engine.url.render_as_string(hide_password=False), durable=True)
    with (
        BetSubmission(settings, database=shared, publisher=RecordingStream()) as one,
        BetSubmission(settings, database=other, publisher=RecordingStream()) as two,
    ):
        threads = [
            threading.Thread(target=submit, args=((one, two)[number % 2], number))
            for number in range(THREADS)
        ]
        watcher = threading.Thread(target=watch)
        watcher.start()
        for thread in threads:
            thread.start()
        begin.wait()
        for thread in threads:
            thread.join()
        over.set()
        watcher.join()
    other.dispose()
    assert outcomes == {"accepted": FUNDED, "refused": THREADS - FUNDED}
    wallet = Wallets(shared).wallet("a1")
    assert (wallet.exposure_minor, wallet.available_minor) == (1000 * FUNDED, 999)
    assert seen == sorted(seen, reverse=True)
    assert min(seen, default=0) >= 0
    assert_all_is_right(shared)


def test_submissions_and_the_exchanges_answers_of_one_account_lose_no_update(
    shared: Database, tmp_path: Path
) -> None:
    add_account(shared, funds_minor=10**6)
    other = Database(shared.engine.url.render_as_string(hide_password=False))
    placed: list[Bet] = []
    done = threading.Event()

    def answer() -> None:
        known = 0
        while not (done.is_set() and known == len(placed)):
            for bet in placed[known:]:
                known += 1
                (verdict,) = applied(
                    other,
                    [
                        later(
                            bet,
                            status=BetStatus.MATCHED,
                            matched_minor=1000,
                            remaining_minor=0,
                            matched_winnings_minor=2000,
                        )
                    ],
                )
                assert verdict.applied

    consumer = threading.Thread(target=answer)
    consumer.start()
    with BetSubmission(
        Settings(data_dir=tmp_path), database=shared, publisher=RecordingStream()
    ) as submission:

        def submit(first: int) -> None:
            for number in range(first, first + 12):
                side = (Side.BACK, Side.LAY)[number % 2]
                placed.append(
                    submission.submit(order(f"s{number}", side=side, selection_id=1 + number % 3)).bet
                )

        threads = [threading.Thread(target=submit, args=(100 * number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    done.set()
    consumer.join()
    other.dispose()
    with shared.read() as connection:
        statuses = connection.execute(sa.select(bets.c.status, sa.func.count()).group_by(bets.c.status)).all()
    assert [tuple(row) for row in statuses] == [("MATCHED", 60)]
    assert_all_is_right(shared)


def test_the_same_submission_from_twenty_processes_is_one_bet(shared: Database, tmp_path: Path) -> None:
    add_account(shared, funds_minor=10**6)
    url = shared.engine.url.render_as_string(hide_password=False)
    answers = submit_at_once(url, tmp_path, "the-same", PROCESSES)
    assert len(answers) == PROCESSES
    (text,) = set(answers)
    answer = decode_answer(text)
    with shared.read() as connection:
        assert list(connection.execute(sa.select(bets.c.bet_id)).scalars()) == [answer.bet.bet_id]
    assert Wallets(shared).wallet("a1").exposure_minor == 1000
    assert answer.bet.odds == Decimal(3)
    assert_all_is_right(shared)
