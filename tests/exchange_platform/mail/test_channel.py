"""The mail channel and the run that it works in: fencing, stores that are away, senders that break."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from exchange_platform.delivery.delivery import DeliveryReport, DeliveryRun
from exchange_platform.mail.channel import MailChannel, Skip, Standing, Unrenderable
from exchange_platform.mail.message import OutgoingMail
from exchange_platform.mail.refusals import REFUSED_IN_A_ROW
from exchange_platform.mail.sender import MessageRefused, NotSent, SenderUnavailable
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock, SystemClock
from exchange_platform.runs.liveness import Patience
from exchange_platform.stores.checkpoints import StoreUnavailable, Superseded
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.mails.mails import (
    MailCount,
    MailOutcome,
    MailQueue,
    MailState,
    NewMail,
    WaitingMail,
    queue_mails,
)
from tests.exchange_platform.mail.mails import outgoing
from tests.exchange_platform.stores.bet_tables import new_database
from tests.support.consumer_rows import beat
from tests.support.platform_parts import wait_for

SOURCE = "a-source"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with new_database(tmp_path) as database:
        yield database


def queued(database: Database, *mail_ids: str, threads: int = 1000) -> None:
    now_us = SYSTEM_CLOCK.now_us()
    with database.write() as connection:
        queue_mails(
            connection,
            [
                NewMail(mail_id, SOURCE, "kind", "ann", f"thread-{number % threads}", now_us, now_us, now_us)
                for number, mail_id in enumerate(mail_ids)
            ],
        )


class TheQueue:
    """The table's mails, with faults on demand."""

    def __init__(self, database: Database) -> None:
        self.queue = MailQueue(database, SOURCE)
        self.away = threading.Event()
        self.rendered: dict[str, OutgoingMail | Skip | Unrenderable] = {}

    def claim(self, epoch: int) -> None:
        self.queue.claim(epoch, now_us=SYSTEM_CLOCK.now_us())

    def collect(self, limit: int, under_way: Collection[str]) -> Sequence[WaitingMail]:
        return self.queue.due(limit, under_way, now_us=SYSTEM_CLOCK.now_us())

    def render(self, mails: Sequence[WaitingMail]) -> Sequence[OutgoingMail | Skip | Unrenderable]:
        return [self.rendered.get(mail.mail_id, outgoing(mail.mail_id)) for mail in mails]

    def mark(self, outcomes: Sequence[MailOutcome]) -> None:
        if self.away.is_set():
            raise StoreUnavailable("the database is away")
        self.queue.mark(outcomes, now_us=SYSTEM_CLOCK.now_us())

    def standing(self) -> Standing:
        return Standing(*self.queue.standing(now_us=SYSTEM_CLOCK.now_us()))


class TheServer:
    """Keeps what was sent; fails as it is told."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.errors: list[Exception] = []
        self.closed = 0

    def send(self, mail: OutgoingMail) -> None:
        if self.errors:
            raise self.errors.pop()
        self.sent.append(mail.mail_id)

    def close(self) -> None:
        self.closed += 1


PATIENCE = Patience(2.0, 60.0)


@contextmanager
def running(
    database: Database,
    queue: TheQueue,
    server: TheServer,
    *,
    give_up_s: float = 60.0,
    patience: Patience = PATIENCE,
    clock: Clock = SYSTEM_CLOCK,
) -> Iterator[tuple[DeliveryRun, list[BaseException], list[DeliveryReport]]]:
    channel = MailChannel(
        queue, lambda: server, connections=2, rate_per_s=10_000, retry_first_s=0.05, give_up_s=give_up_s
    )
    run = DeliveryRun(
        SOURCE,
        [channel],
        ConsumerRows(database),
        run_id="a-test",
        duration_s=60,
        report_interval_s=0.2,
        patience=patience,
        clock=clock,
    )
    problems: list[BaseException] = []
    reports: list[DeliveryReport] = []

    def work() -> None:
        try:
            reports.extend(run.run())
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield run, problems, reports
    finally:
        run.stop()
        thread.join(30)
    assert not thread.is_alive()


def states(database: Database) -> MailCount:
    return MailQueue(database, SOURCE).count()


def test_every_mail_is_sent_once_and_a_thread_s_in_their_order(database: Database) -> None:
    queue, server = TheQueue(database), TheServer()
    ids = [f"m{number:03d}" for number in range(60)]
    queued(database, *ids, threads=7)
    with running(database, queue, server) as (_, problems, reports):
        wait_for(lambda: states(database).sent == 60)
    assert not problems
    assert sorted(server.sent) == ids
    for thread in range(7):
        mine = [mail_id for mail_id in server.sent if int(mail_id[1:]) % 7 == thread]
        assert mine == sorted(mine)
    assert reports[-1].final
    assert reports[-1].channels["mail"]["sent"] == 60
    assert server.closed == 2


def test_a_run_with_nothing_left_to_deliver_is_not_behind_however_late_the_last_mail_was(
    database: Database,
) -> None:
    """`consumer_alive` of the confirmations failed for as long as nobody registered."""
    queue, server = TheQueue(database), TheServer()
    late_us = SYSTEM_CLOCK.now_us() - 40_000_000
    with database.write() as connection:
        queue_mails(connection, [NewMail("m1", SOURCE, "kind", "ann", "t", late_us, late_us, late_us)])
    rows = ConsumerRows(database)
    with running(database, queue, server) as (run, _, _):
        wait_for(lambda: (row := rows.newest(SOURCE)) is not None and row.at_tip and row.records == 1)
        assert (run._signs().statistics.channels["mail"]["lag_ms"] or 0) >= 40_000
        wait_for(lambda: (row := rows.newest(SOURCE)) is not None and row.lag_ms == 0)


def test_a_mail_whose_mark_fails_is_not_sent_again_while_the_store_is_away(database: Database) -> None:
    queue, server = TheQueue(database), TheServer()
    queued(database, "m1", "m2", "m3")
    queue.away.set()
    with running(database, queue, server) as (_, problems, _):
        wait_for(lambda: len(server.sent) == 2)  # one a connection; the third waits for a mark
        queue.away.clear()
        wait_for(lambda: states(database).sent == 3)
    assert sorted(server.sent) == ["m1", "m2", "m3"]
    assert not problems


def test_a_run_that_lost_its_claim_marks_nothing_and_ends(database: Database) -> None:
    queue, server = TheQueue(database), TheServer()
    with running(database, queue, server) as (run, problems, _):
        wait_for(lambda: (row := ConsumerRows(database).newest(SOURCE)) is not None and row.at_tip)
        # Another run that did not wait for this one: it held this one for dead.
        MailQueue(database, SOURCE).claim(run.epoch + 1, now_us=SYSTEM_CLOCK.now_us())
        queued(database, "m1")
        wait_for(lambda: run.superseded)
    assert not problems
    assert server.sent == ["m1"]
    assert states(database) == MailCount(waiting=1, sent=0, skipped=0, dead=0)
    with pytest.raises(Superseded):
        queue.mark([])


def a_silent_run(database: Database, **process: object) -> int:
    """A run that says nothing from now on, of such a process; returns when it began."""
    now_us = SYSTEM_CLOCK.now_us()
    rows = ConsumerRows(database)
    epoch = rows.begin(SOURCE, "a-silent-run", now_us=now_us, ends_at_us=now_us + 10**9)
    beat(rows, SOURCE, epoch, at_tip=False, **process)
    return now_us


def test_a_successor_waits_for_the_run_before_it_but_not_for_a_dead_one(database: Database) -> None:
    now_us = a_silent_run(database, host="another-machine")
    queued(database, "m1")
    queue, server = TheQueue(database), TheServer()
    with running(database, queue, server):
        wait_for(lambda: states(database).sent == 1, timeout_s=20)
        assert SYSTEM_CLOCK.now_us() - now_us > 1_900_000  # its heartbeat is two seconds old by then


class SetBackClock(SystemClock):
    """The machine's time, until it is set back by an hour."""

    back_us = 0

    def now_us(self) -> int:
        return super().now_us() - self.back_us


def test_a_successor_does_not_wait_until_the_clock_is_where_it_was(database: Database) -> None:
    a_silent_run(database, host="another-machine", heartbeat_at_us=SYSTEM_CLOCK.now_us() + 3_600_000_000)
    queued(database, "m1")
    queue, server = TheQueue(database), TheServer()
    with running(database, queue, server):
        wait_for(lambda: states(database).sent == 1, timeout_s=20)


def test_a_runs_end_follows_a_clock_that_is_set_back(database: Database) -> None:
    """Its successor would be requested an hour after it has ended."""
    queue, server, clock = TheQueue(database), TheServer(), SetBackClock()
    rows = ConsumerRows(database)
    with running(database, queue, server, clock=clock):
        wait_for(lambda: (row := rows.newest(SOURCE)) is not None and row.at_tip)
        clock.back_us = 3_600_000_000

        def follows() -> bool:
            row = rows.newest(SOURCE)
            return row is not None and row.heartbeat_at_us < row.ends_at_us < SYSTEM_CLOCK.now_us()

        wait_for(follows)


def test_a_successor_does_not_wait_for_a_run_whose_process_is_gone(database: Database) -> None:
    now_us = a_silent_run(database, process_start_ticks=1)  # this process began later
    queued(database, "m1")
    queue, server = TheQueue(database), TheServer()
    with running(database, queue, server, patience=Patience(600.0, 900.0)):
        wait_for(lambda: states(database).sent == 1, timeout_s=20)
    assert SYSTEM_CLOCK.now_us() - now_us < 600_000_000


def test_a_successor_waits_for_a_run_that_is_silent_but_whose_process_runs(database: Database) -> None:
    now_us = a_silent_run(database)
    queued(database, "m1")
    queue, server = TheQueue(database), TheServer()
    with running(database, queue, server, patience=Patience(1.0, 3.0)):
        wait_for(lambda: states(database).sent == 1, timeout_s=20)
        assert SYSTEM_CLOCK.now_us() - now_us > 2_900_000


def test_a_run_whose_heartbeats_fail_sends_nothing_new(database: Database) -> None:
    queue, server = TheQueue(database), TheServer()
    with running(database, queue, server) as (run, _, _):
        wait_for(lambda: run.holds())

        def no_heartbeat(*_: object, **__: object) -> None:
            raise StoreUnavailable("the database is away")

        run._rows.heartbeat = no_heartbeat  # type: ignore[method-assign]
        wait_for(lambda: not run.holds(), timeout_s=10)
        queued(database, "m1")
        assert not threading.Event().wait(0.3)
        assert server.sent == []


def test_what_can_not_be_rendered_is_dead_and_what_is_not_wanted_is_skipped(database: Database) -> None:
    queue, server = TheQueue(database), TheServer()
    queued(database, "m1", "m2", "m3")
    queue.rendered = {"m1": Unrenderable("a hole in the template"), "m2": Skip("nobody wants it")}
    with running(database, queue, server):
        wait_for(lambda: states(database) == MailCount(waiting=0, sent=1, skipped=1, dead=1))
    assert server.sent == ["m3"]


@pytest.mark.parametrize(
    "error", [MessageRefused("554 5.7.1 sender 'x' not allowed"), TypeError("a defect")], ids=repr
)
def test_a_server_that_refuses_every_mail_for_one_reason_kills_only_the_first_few(
    database: Database, error: Exception
) -> None:
    queue, server = TheQueue(database), TheServer()
    queued(database, *(f"m{number:03d}" for number in range(200)))
    server.errors = [error] * 10_000
    with running(database, queue, server, give_up_s=0.001) as (_, problems, reports):
        wait_for(lambda: any("in a row" in text for report in reports for text in report.last_errors))
        dead = states(database).dead
        server.errors = []
        wait_for(lambda: states(database).sent + states(database).dead == 200)
    assert dead < REFUSED_IN_A_ROW
    assert states(database).dead == dead
    assert not problems


@pytest.mark.parametrize("error", [SenderUnavailable("throttled"), NotSent("odd"), ValueError("a bug")])
def test_a_sender_that_breaks_once_loses_nothing(database: Database, error: Exception) -> None:
    queue, server = TheQueue(database), TheServer()
    server.errors = [error]
    queued(database, "m1", "m2")
    with running(database, queue, server) as (_, problems, _):
        wait_for(lambda: states(database).sent == 2, timeout_s=20)
    assert not problems
    assert sorted(server.sent) == ["m1", "m2"]


def test_a_channel_that_fails_ends_the_run_with_its_error(database: Database) -> None:
    queue, server = TheQueue(database), TheServer()
    queue.standing = lambda: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    with running(database, queue, server) as (_, problems, _):
        wait_for(lambda: problems)
    assert isinstance(problems[0], ZeroDivisionError)
    newest = ConsumerRows(database).newest(SOURCE)
    assert newest is not None
    assert newest.state == "failed"


def test_pauses_grow_until_the_mail_is_given_up(database: Database) -> None:
    server = TheServer()
    channel = MailChannel(
        TheQueue(database), lambda: server, connections=1, rate_per_s=1, retry_first_s=5.0, give_up_s=86_400.0
    )
    now_us = SYSTEM_CLOCK.now_us()

    def pause_s(attempts: int) -> float:
        mail = WaitingMail("m1", "kind", "ann", "t", attempts, now_us, now_us, now_us)
        outcome = channel._later(mail, "451 later")
        assert outcome.state is MailState.WAITING
        return round((outcome.due_at_us - SYSTEM_CLOCK.now_us()) / 1e6)

    assert [pause_s(attempts) for attempts in (0, 1, 2, 3, 4, 5, 30)] == [5, 20, 80, 320, 1280, 3600, 3600]
    old = WaitingMail("m1", "kind", "ann", "t", 30, now_us, now_us - 86_400_000_000, now_us)
    assert channel._later(old, "451 later") == MailOutcome(
        old, MailState.DEAD, "given up after 31 tries: 451 later"
    )
