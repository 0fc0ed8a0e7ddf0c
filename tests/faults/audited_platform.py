"""A small platform for the audit's own tests: some seconds of an exchange in made-up time, through real
stores, with one customer. Judging it is the audit's.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from exchange_platform.domain.bets import Side
from exchange_platform.exchanges.simulated.markets.market import LiveMarket
from exchange_platform.exchanges.simulated.taken_bets import JOURNAL_FILE
from exchange_platform.local.emulator.server import ensure_topic
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.dynamodb.profile_view import ensure_table
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.mails.figures import notification_figures
from exchange_platform.stores.operational.wallets.wallets import Wallets
from exchange_platform.streams.sources.kinesis import ensure_stream
from exchange_platform.submission import BetSubmission
from tests.exchange_platform.betting import add_event, add_market, order
from tests.exchange_platform.exchanges.simulated.running import MadeUpTime, RunningExchange
from tests.exchange_platform.recording import RecordingStream
from tests.faults.audit import exchange, view
from tests.faults.audit.audit import Evidence
from tests.faults.audit.customers import Acknowledged, Customer
from tests.support.notification_parts import register, running_notifier
from tests.support.platform_parts import consume_all, publish, wait_for
from tests.support.prepared import prepare

CUSTOMER, ADDRESS = "c1", "c1@customer.example.org"
DEPOSIT_MINOR = 2_000_000


def audited_platform(directory: Path, emulator_url: str) -> Evidence:
    """The evidence of a platform that made no mistake, in the directory."""
    name = hashlib.sha256(str(directory).encode()).hexdigest()[:10]
    settings = Settings(
        data_dir=directory / "data",
        aws_endpoint_url=emulator_url,
        bets_stream=f"exchange-bets-{name}",
        profiles_table=f"profiles-{name}",
        status_topic=f"bet-status-{name}",
        fills_quiet_s=0.0,
        fills_at_most_s=0.0,
        silent_market_s=0.001,
    )
    prepare(settings)
    ensure_stream(aws_client(settings, "kinesis"), settings.bets_stream)
    ensure_table(aws_client(settings, "dynamodb"), settings.profiles_table)
    ensure_topic(aws_client(settings, "sns"), settings.status_topic)
    clock = MadeUpTime(SYSTEM_CLOCK.now_us() - 3_600_000_000)
    running = RunningExchange(settings.data_dir / JOURNAL_FILE, clock, rate=5, pace=60)
    running.run(0.2)
    database = Database(settings.operational_database_url, durable=True)
    customer = _customer_who_bets(settings, database, running)
    running.run(6)
    copy = directory / "exchange-copy.sqlite"
    exchange.copy_new(settings.data_dir / JOURNAL_FILE, copy)
    consume_all(settings, publish(settings, running.pairs))
    _notify(settings, database)
    database.dispose()
    running.journal.close()
    items = view.scan(emulator_url, settings.profiles_table)
    return Evidence(settings.data_dir, copy, items, [customer])


def _customer_who_bets(settings: Settings, database: Database, running: RunningExchange) -> Customer:
    """A customer with money, whose bets the exchange takes: matched at once, resting, and cancelled."""
    live = running.open_market(lapsing=False)
    _announce(database, live)
    register(database, CUSTOMER, email=ADDRESS)
    Wallets(database).deposit(CUSTOMER, "d1", DEPOSIT_MINOR, "GBP", authorised_by="a test")
    customer = Customer(CUSTOMER, ADDRESS, confirmed=True, deposits={"d1": DEPOSIT_MINOR})
    stream = RecordingStream()
    selection = live.state.market.selections[0]
    with BetSubmission(settings, database=database, publisher=stream, clock=running.clock) as submission:
        for number, (side, odds) in enumerate(
            [(Side.BACK, None), (Side.LAY, None), (Side.BACK, Decimal(900))]
        ):
            wanted = order(
                f"s{number}",
                account_id=CUSTOMER,
                market_id=live.market_id,
                selection_id=selection.selection_id,
                handicap=selection.handicap,
                side=side,
                odds=odds,
                stake_minor=500 + number,
            )
            bet = submission.submit(wanted).bet
            customer.bets[wanted.submission_id] = Acknowledged(
                bet.bet_id,
                live.market_id,
                selection.selection_id,
                side.value,
                wanted.odds,
                wanted.stake_minor,
            )
            last = bet.bet_id
        running.order(*stream.orders)
        submission.cancel(CUSTOMER, last)
        running.order(*stream.orders[3:])
    return customer


def _announce(database: Database, live: LiveMarket) -> None:
    market = live.state.market
    add_event(database, market.event_id)
    add_market(
        database,
        market.market_id,
        event_id=market.event_id,
        winners=market.number_of_winners,
        of_selections=[one.selection_id for one in market.selections],
        handicap=market.selections[0].handicap,
    )


def _notify(settings: Settings, database: Database) -> None:
    def is_done() -> bool:
        now_us = int(datetime.now(UTC).timestamp() * 1e6)
        figures = notification_figures(database, now_us=now_us)
        return not (figures.waiting or figures.later or figures.unread or figures.unpublished)

    with running_notifier(settings):
        wait_for(is_done, what="mails and messages")
