"""The command `betfair`: who logs in, what is said meanwhile, the end. Not here: following
(exchanges/betfair/live.py).
"""

from __future__ import annotations

import signal
import ssl
import threading
import time
from contextlib import closing
from functools import partial

from pydantic import SecretStr
from rich.console import Console

from exchange_platform.cli.output import say_line
from exchange_platform.exchanges.betfair.connection import Endpoint
from exchange_platform.exchanges.betfair.live import LiveStream, Login, Subscription
from exchange_platform.exchanges.betfair.live_book import LiveBook
from exchange_platform.exchanges.betfair.live_journal import LIVE_FILE, LiveJournal
from exchange_platform.exchanges.betfair.live_publishing import LivePublishing, PublishingWaits
from exchange_platform.exchanges.betfair.login import AccountLogin, BetfairAccount, GivenToken
from exchange_platform.exchanges.feed_journal import FEED_FILE, FeedJournal
from exchange_platform.local.running import require_stream
from exchange_platform.operations.acknowledging import committed
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import InvalidSettings, Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.bets.restatements import Restatements
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.sources.kinesis import Publisher

_PUBLISH_EVERY_S = 0.05
_TELL_EVERY_S = 10.0
_RETRY_S = 1.0


def follow(settings: Settings, subscription: Subscription) -> int:
    """Follow until interrupted; 0 then. Raises `InvalidSettings`, `NotRunning`, `NotAllowed`."""
    endpoint, login = endpoint_of(settings), login_of(settings)
    app_key = app_key_of(settings).get_secret_value()
    require_stream(settings)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    console = Console(stderr=True)
    journal = LiveJournal(settings.data_dir / LIVE_FILE, subscription.criteria)
    database = Database(settings.operational_database_url)
    client = aws_client(settings, "kinesis")
    feed = FeedJournal(settings.data_dir / FEED_FILE)
    try:
        book = LiveBook(journal)
        stream = LiveStream(
            endpoint,
            login,
            subscription,
            book,
            app_key=app_key,
            on_change=lambda said: say_line(console, f"{time.strftime('%H:%M:%S')} {said}"),
        )
        publishing = LivePublishing(
            journal,
            publisher=Publisher(client, settings.bets_stream, stopping=stopping),
            feed=feed,
            restatements=Restatements(database),
            committed=partial(_committed, settings, database),
        )
        return _run(stream, book, publishing, stopping, console)
    finally:
        feed.close()
        client.close()
        database.dispose()
        journal.close()


def _committed(settings: Settings, database: Database) -> dict[str, str]:
    with closing(Lake.from_settings(settings, read_only=True)) as lake:
        return committed(database, lake)


def endpoint_of(settings: Settings) -> Endpoint:
    """The stream's endpoint; its certificate must be one that this machine trusts."""
    host, _, port = settings.betfair_stream.rpartition(":")
    return Endpoint(host, int(port), ssl.create_default_context())


def login_of(settings: Settings) -> Login:
    """Who logs in. Raises `InvalidSettings` where that is not said."""
    if settings.betfair_session_token is not None:
        return GivenToken(settings.betfair_session_token)
    if settings.betfair_username is None or settings.betfair_password is None:
        raise InvalidSettings(
            "Betfair asks who you are: set EXCHANGE_PLATFORM_BETFAIR_USERNAME and EXCHANGE_PLATFORM_BETFAIR_PASSWORD"
            " (and EXCHANGE_PLATFORM_BETFAIR_CERTIFICATE for an account with a certificate),"
            " or EXCHANGE_PLATFORM_BETFAIR_SESSION_TOKEN"
        )
    for name in ("betfair_certificate", "betfair_certificate_key"):
        path = getattr(settings, name)
        if path is not None and not path.is_file():
            raise InvalidSettings(f"{name}: {path} is no file")
    return AccountLogin(
        BetfairAccount(
            app_key=app_key_of(settings),
            username=settings.betfair_username,
            password=settings.betfair_password,
            certificate=settings.betfair_certificate,
            certificate_key=settings.betfair_certificate_key,
            identity_url=settings.betfair_identity_url,
        )
    )


def app_key_of(settings: Settings) -> SecretStr:
    """The application's key. Raises `InvalidSettings` without one."""
    if settings.betfair_app_key is None:
        raise InvalidSettings("Betfair asks for an application key: set EXCHANGE_PLATFORM_BETFAIR_APP_KEY")
    return settings.betfair_app_key


def _run(
    stream: LiveStream,
    book: LiveBook,
    publishing: LivePublishing,
    stopping: threading.Event,
    console: Console,
) -> int:
    """Follow in one thread, publish in this one."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            stream.run()
        except BaseException as error:
            failures.append(error)
        finally:
            stopping.set()

    thread = threading.Thread(target=run, name="betfair", daemon=True)
    thread.start()
    told_s = time.monotonic()
    while not stopping.wait(_PUBLISH_EVERY_S):
        _publish(publishing, stopping, console)
        if time.monotonic() - told_s >= _TELL_EVERY_S:
            told_s = time.monotonic()
            say_line(console, f"{time.strftime('%H:%M:%S')} {_figures(stream, book)}")
    stream.stop()
    thread.join(30)
    _publish(publishing, None, console)
    say_line(console, f"ended; {_figures(stream, book)}")
    if failures:
        raise failures[0]
    return 0


def _publish(publishing: LivePublishing, stopping: threading.Event | None, console: Console) -> None:
    try:
        publishing.publish_waiting()
    except PublishingWaits as error:
        say_line(console, f"waiting to publish: {error}")
        if stopping is not None:
            stopping.wait(_RETRY_S)


def _figures(stream: LiveStream, book: LiveBook) -> str:
    following = stream.following
    late_s = max(0.0, SYSTEM_CLOCK.now_us() / 1e6 - book.newest_at_ms / 1000) if book.newest_at_ms else 0.0
    parts = [
        following.state,
        f"{following.messages:,} messages, the newest {late_s:,.1f} s old",
        f"{book.executions:,} executions",
        f"{book.updates:,} updates of events",
        f"{book.restatements:,} restatements",
        f"{following.connections:,} connections",
    ]
    for count, what in (
        (book.repeats, "repeated"),
        (book.conflated, "conflated"),
        (following.damaged, "damaged"),
        (book.refused.count, "trades that no record can hold"),
    ):
        if count:
            parts.append(f"{count:,} {what}")
    return " | ".join(parts)
