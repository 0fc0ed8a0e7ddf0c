"""What the routes work with: made once a process, opened when first asked for. Not here: the routes."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import HTTPConnection

from exchange_platform.api.http.bulkheads import Bulkheads
from exchange_platform.api.http.known_tokens import KnownTokens
from exchange_platform.api.http.rates import Rates
from exchange_platform.api.http.security_log import SecurityLog
from exchange_platform.api.rendering.board_pages import BoardPages
from exchange_platform.api.rendering.static_catalog import StaticFiles
from exchange_platform.api.watching.change_feed import ChangeFeed
from exchange_platform.api.watching.following import Live
from exchange_platform.api.watching.last_odds import LastOddsOfMarkets
from exchange_platform.api.watching.registrations import Registrations
from exchange_platform.confirmation.service import AccountService
from exchange_platform.mail.mail_domains import DnsDomains
from exchange_platform.notifications.unsubscribing import PreferenceLinks
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.dynamodb.confirmation_tokens import ConfirmationTokens
from exchange_platform.stores.dynamodb.profile_view import ProfileView
from exchange_platform.stores.event_index.index import EventIndex
from exchange_platform.stores.event_index.opening import open_event_index
from exchange_platform.stores.lake.window_reading import WindowReader
from exchange_platform.stores.operational.accounts.accounts import Accounts
from exchange_platform.stores.operational.accounts.api_tokens import ApiTokens
from exchange_platform.stores.operational.bets.outbox import Outbox
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.events.reader import EventReader
from exchange_platform.stores.operational.wallets.wallets import Wallets
from exchange_platform.submission import BetSubmission

_REFUSED_FOR_S = 60.0


class Services:
    """The stores and services of one API process. Thread-safe: routes run in a pool of threads."""

    def __init__(self, settings: Settings, clock: Clock = SYSTEM_CLOCK) -> None:
        self.settings = settings
        self.clock = clock
        self.ending = threading.Event()
        """Set when the server begins to stop: whatever streams an answer ends it then, within a second."""
        self._refused_at_s: float | None = None

    @cached_property
    def database(self) -> Database:
        """The operational database; what is acknowledged from here is on disk."""
        return Database(self.settings.operational_database_url, durable=True)

    @cached_property
    def reading_database(self) -> Database:
        """The same for what anybody reads, by connections of its own: money never waits for one of these."""
        return Database(self.settings.operational_database_url)

    @cached_property
    def health_database(self) -> Database:
        """The same for the health check alone."""
        return Database(self.settings.operational_database_url)

    @cached_property
    def token_database(self) -> Database:
        """The same for applications' tokens and the log of security events: whoever shows a token waits for
        nobody else's reads.
        """
        return Database(self.settings.operational_database_url)

    @cached_property
    def known_tokens(self) -> KnownTokens:
        """The tokens that applications may show."""
        return KnownTokens(ApiTokens(self.token_database), self.settings.tokens_of_setting, self.clock)

    @cached_property
    def security_log(self) -> SecurityLog:
        """Who was let in and refused."""
        return SecurityLog(self.token_database, self.clock)

    @cached_property
    def registrations(self) -> Registrations:
        """Which accounts applications registered."""
        return Registrations(self.account_reader)

    @cached_property
    def accounts(self) -> AccountService:
        """What can be done to accounts."""
        return AccountService(
            self.settings,
            self.database,
            ConfirmationTokens(self._dynamodb, self.settings.tokens_table),
            domains=DnsDomains() if self.settings.check_mx else None,
            clock=self.clock,
        )

    @cached_property
    def account_reader(self) -> Accounts:
        """The accounts, to be read."""
        return Accounts(self.database)

    @cached_property
    def preference_links(self) -> PreferenceLinks:
        """The signed links in mails."""
        return PreferenceLinks.from_settings(self.settings)

    @cached_property
    def events(self) -> EventReader:
        """Events with their markets."""
        return EventReader(self.reading_database)

    @cached_property
    def event_index(self) -> EventIndex:
        """The index that type-ahead asks."""
        return open_event_index(self.settings, clock=self.clock)

    @cached_property
    def windows(self) -> WindowReader:
        """Odds windows of the lake."""
        return WindowReader(self.settings)

    @cached_property
    def last_odds(self) -> LastOddsOfMarkets:
        """What selections were last matched at, for lists."""
        return LastOddsOfMarkets(self.windows, self.clock)

    @cached_property
    def live(self) -> Live:
        """Who follows which event, and the one thread that looks for all of them."""
        return Live(
            self.events,
            self.windows,
            ending=self.ending,
            clock=self.clock,
            most_clients=self.settings.live_clients,
            most_of_an_address=self.settings.live_clients_per_address,
        )

    @cached_property
    def bulkheads(self) -> Bulkheads:
        """The threads that each kind of work has."""
        return Bulkheads()

    @cached_property
    def rates(self) -> Rates:
        """How often each address may call yet without a token."""
        return Rates(self.settings, self.clock)

    @cached_property
    def static(self) -> StaticFiles:
        """The files of the board's pages."""
        return StaticFiles()

    @cached_property
    def board(self) -> BoardPages:
        """The templates of the board's pages."""
        return BoardPages(self.static)

    @cached_property
    def submission(self) -> BetSubmission:
        """What can be done with bets."""
        return BetSubmission(self.settings, database=self.database, clock=self.clock)

    @cached_property
    def wallets(self) -> Wallets:
        """Accounts' money."""
        return Wallets(self.database, clock=self.clock)

    @cached_property
    def profile_view(self) -> ProfileView:
        """Profiles as the consumer writes them for applications."""
        return ProfileView(self._dynamodb, self.settings.profiles_table)

    @cached_property
    def change_feed(self) -> ChangeFeed:
        """Changes of bets, for those who listen."""
        return ChangeFeed(Outbox(self.database))

    @property
    def refused(self) -> bool:
        """Whether a store has refused this process's user name or password within the last minute."""
        return (
            self._refused_at_s is not None and self.clock.monotonic_s() < self._refused_at_s + _REFUSED_FOR_S
        )

    def note_refusal(self) -> None:
        """Remember that a store refused them now."""
        self._refused_at_s = self.clock.monotonic_s()

    def prepare(self) -> None:
        """Make what routes share before threads ask for it at the same time. Nothing is opened by that."""
        for name in (
            "bulkheads",
            "rates",
            "database",
            "reading_database",
            "health_database",
            "token_database",
            "known_tokens",
            "security_log",
            "accounts",
            "account_reader",
            "registrations",
            "submission",
            "wallets",
            "profile_view",
            "change_feed",
        ):
            getattr(self, name)

    @cached_property
    def _dynamodb(self) -> Any:
        return aws_client(self.settings, "dynamodb", read_timeout_s=5)

    def close(self) -> None:
        """Close what was opened."""
        self.ending.set()
        if "live" in self.__dict__:
            self.live.close()
        if "event_index" in self.__dict__:
            self.event_index.close()
        if "windows" in self.__dict__:
            self.windows.close()
        if "submission" in self.__dict__:
            self.submission.close()
        if "_dynamodb" in self.__dict__:
            self._dynamodb.close()
        if "security_log" in self.__dict__:
            self.security_log.close()
        for name in ("database", "reading_database", "health_database", "token_database"):
            if name in self.__dict__:
                getattr(self, name).dispose()


async def services_of(connection: HTTPConnection) -> Services:
    """The services of the application that a request came to."""
    # Async, as all that wait for nothing: others take a thread each.
    found = connection.app.state.services
    assert isinstance(found, Services)
    return found


AppState = Annotated[Services, Depends(services_of)]
