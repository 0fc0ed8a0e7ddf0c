"""The simulated exchange's process: ticks by the clock, pauses while the stream is away, reports how it
goes.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock, Timeout

from exchange_platform.exchanges.feed_journal import FEED_FILE, FeedJournal
from exchange_platform.exchanges.platform_requests import REQUESTS_FILE, PlatformRequests
from exchange_platform.exchanges.simulated.exchange import TICK_S, Exchange
from exchange_platform.exchanges.simulated.intake import OrderIntake
from exchange_platform.exchanges.simulated.journal import Journal
from exchange_platform.exchanges.simulated.publishing import REPEATED_ONE_IN, Publishing
from exchange_platform.exchanges.simulated.retention import Retention
from exchange_platform.exchanges.simulated.serving import Serving
from exchange_platform.exchanges.simulated.taken_bets import JOURNAL_FILE
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.data_files import BEGUN_FILE, FEED, SIMULATED_EXCHANGE, examinations
from exchange_platform.streams.sources.kinesis import KinesisSource

log = logging.getLogger(__name__)

MAX_UNPUBLISHED = 20_000
"""Trading pauses while more records than this wait for the stream."""
_FINISH_S = 2.0
"""How long the end waits for the stream; a supervisor that stops the process gives it 5 s in all."""
_EXAMINED_S = 2.0
"""How long the start looks for damage in a file."""
_REPORT_EVERY_S = 10.0


class JournalDamaged(Exception):
    """What the exchange must not forget is damaged or lost: it does not begin from nothing, and the message
    says what to do.
    """


class ExchangeAlreadyRunning(Exception):
    """Another simulated exchange runs on this data directory: stop, or take another directory."""


def run(
    settings: Settings,
    *,
    rate: float,
    seed: int | None,
    stop: threading.Event,
    pace: float = 1.0,
    repeated_one_in: int = REPEATED_ONE_IN,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Run the exchange at `rate` executions a second until `stop` is set.

    `pace` is how much faster than usual markets live; one publication in `repeated_one_in` is made twice,
    none if it is 0. Goes on from the journal in `settings.data_dir`. When it returns, all that happened is in
    the journal, and in the stream as well if that was to be had. With a `seed`, runs from an empty directory
    make the same choices as long as time passes alike. Raises `ExchangeAlreadyRunning` and `JournalDamaged`.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    path = settings.data_dir / JOURNAL_FILE
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=1)
    except Timeout:
        raise ExchangeAlreadyRunning(
            f"a simulated exchange already runs on {settings.data_dir}; stop it or name another --data-dir"
        ) from None
    with ExitStack() as closing:
        closing.callback(lock.release)
        _refuse_damage(settings.data_dir)
        journal = Journal(path, _retention(settings))
        closing.callback(journal.close)
        (settings.data_dir / BEGUN_FILE).touch()
        requests = PlatformRequests(settings.data_dir / REQUESTS_FILE, clock=clock)
        closing.callback(requests.close)
        feed = FeedJournal(settings.data_dir / FEED_FILE)
        closing.callback(feed.close)
        client = aws_client(settings, "kinesis")
        closing.callback(client.close)
        orders = KinesisSource(aws_client(settings, "kinesis"), settings.orders_stream)
        intake = OrderIntake(orders, journal.positions(), clock)
        closing.callback(intake.stop, 1.0)
        _run(
            journal,
            feed,
            requests,
            client,
            intake,
            settings.bets_stream,
            rate,
            seed,
            stop,
            pace,
            repeated_one_in,
            clock,
        )


def _refuse_damage(data_dir: Path) -> None:
    """Raise `JournalDamaged` for a journal or a feed that is damaged, and for a journal that is lost: the
    bets in it are nobody else's.
    """
    for _, _, fault in examinations(data_dir, _EXAMINED_S, (SIMULATED_EXCHANGE, FEED)):
        if fault is not None and not fault.starts_anyway:
            raise JournalDamaged(f"{fault.found}. To go on: {fault.remedy}")


def _run(
    journal: Journal,
    feed: FeedJournal,
    requests: PlatformRequests,
    client: object,
    intake: OrderIntake,
    stream: str,
    rate: float,
    seed: int | None,
    stop: threading.Event,
    pace: float,
    repeated_one_in: int,
    clock: Clock,
) -> None:
    restored = journal.restore(clock.now_us())
    chance = random.Random() if seed is None else random.Random(f"{seed}/{restored.numbers.starts}")
    exchange = Exchange(
        journal,
        restored,
        clock=clock,
        chance=chance,
        rate=rate,
        pace=pace,
        acknowledged=requests.acknowledged,
    )
    publishing = Publishing(
        journal,
        client,
        stream,
        clock=clock,
        chance=random.Random(chance.random()),
        repeated_one_in=repeated_one_in,
    )
    _feed(journal, feed)
    publishing.start()
    intake.start()
    serving = Serving(journal, requests, publishing, clock)
    serving.start()
    report = _Report(clock, exchange, publishing, intake)
    log.info(
        "simulated exchange: %g executions/s, %d markets restored, %d records to publish, start %d of this journal",
        rate,
        len(restored.markets),
        publishing.unpublished,
        restored.numbers.starts,
    )
    next_tick_s = clock.monotonic_s()
    while not clock.wait(stop, next_tick_s - clock.monotonic_s()):
        for failure in (publishing.failure, intake.failure):
            if failure is not None:
                raise failure
        paused = publishing.unpublished > MAX_UNPUBLISHED
        if paused:
            batch = exchange.note(publishing.progress)
        else:
            batch = exchange.tick(publishing.progress, intake.read())
        _feed(journal, feed)
        if batch is not None:
            publishing.offer(batch)
        report.say(paused)
        # A tick that took too long delays the next ones; it is not followed by a burst.
        next_tick_s = max(next_tick_s + TICK_S, clock.monotonic_s())
    serving.stop(1.0)
    publishing.finish(_FINISH_S)
    exchange.note(publishing.progress)
    _feed(journal, feed)


def _retention(settings: Settings) -> Retention:
    return Retention(
        settings.exchange_retained_s,
        settings.exchange_records_kept_s,
        settings.exchange_journal_mb * 1_000_000,
    )


def _feed(journal: Journal, feed: FeedJournal) -> None:
    """Append to the feed what was committed, before any record of it is published."""
    if updates := journal.unfed:
        feed.append(updates)
        journal.fed()


class _Report:
    """A line of statistics every ten seconds."""

    def __init__(self, clock: Clock, exchange: Exchange, publishing: Publishing, intake: OrderIntake) -> None:
        self._clock = clock
        self._exchange = exchange
        self._publishing = publishing
        self._intake = intake
        self._orders: Counter[str] = Counter()
        self._since_s = clock.monotonic_s()
        self._executions = 0
        self._published = 0

    def say(self, paused: bool) -> None:
        """Log a line if it is time for one."""
        passed_s = self._clock.monotonic_s() - self._since_s
        if passed_s < _REPORT_EVERY_S:
            return
        exchange, publishing = self._exchange, self._publishing
        markets = exchange.markets.values()
        log.info(
            "%.1f executions/s, %.0f records/s published, %d unpublished, %d markets (%d open), %d finished, %d bets, %d resting%s%s",
            (exchange.executions - self._executions) / passed_s,
            (publishing.published - self._published) / passed_s,
            publishing.unpublished,
            len(markets),
            sum(1 for live in markets if live.state.open),
            exchange.finished,
            sum(len(live.bets) for live in markets),
            sum(len(book) for live in markets for book in live.books.values()),
            ", trading paused" if paused else "",
            "" if publishing.available else ", stream unavailable",
        )
        counts = exchange.desk.counts
        if counts != self._orders:
            new = counts - self._orders
            log.info("orders: %s", ", ".join(f"{number:,} {what}" for what, number in sorted(new.items())))
            self._orders = Counter(counts)
        if self._intake.last_error:
            log.warning("no orders are taken: %s", self._intake.last_error)
        self._since_s += passed_s
        self._executions, self._published = exchange.executions, publishing.published
