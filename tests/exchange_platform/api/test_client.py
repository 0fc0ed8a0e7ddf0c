"""The Python client against a server on a real socket: bets placed once, news heard in order, a server that
goes away and comes back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest

from exchange_platform.api.serving import Server
from exchange_platform.client import ApiError, ApiUnavailable, ExchangeClient, MissingScope, TokenRefused
from exchange_platform.domain.api_tokens import Scope, draw_token
from exchange_platform.domain.bets import BetStatus, Side
from exchange_platform.local.programs import free_ports
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.operational.bets.bets import apply_bet_updates
from exchange_platform.stores.operational.bets.outbox import Outbox
from exchange_platform.stores.operational.bets.reading import read_bet
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.sources.kinesis import ensure_stream
from tests.exchange_platform.api.conftest import TOKEN
from tests.exchange_platform.betting import add_account, add_event, add_market
from tests.exchange_platform.stores.bet_lives import later
from tests.support.platform_parts import wait_for
from tests.support.token_parts import make_token


@contextmanager
def _served(settings: Settings, port: int) -> Iterator[None]:
    server = Server(settings, host="127.0.0.1", port=port)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started, what="the API listens")
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def database(api_settings: Settings) -> Iterator[Database]:
    """A market that takes bets, an account with money, and the stream of orders."""
    client = aws_client(api_settings, "kinesis")
    ensure_stream(client, api_settings.orders_stream)
    client.close()
    found = Database(api_settings.operational_database_url)
    add_event(found)
    add_market(found)
    add_account(found, funds_minor=10_000)
    yield found
    found.dispose()


def _change(database: Database, bet_id: str, status: BetStatus, **amounts: int) -> None:
    bet = read_bet(database, bet_id)
    assert bet is not None
    with database.write() as connection:
        verdicts = apply_bet_updates(connection, [later(bet, status=status, **amounts)])
    assert [verdict.reason for verdict in verdicts] == [None]


def test_a_bet_is_placed_once_and_its_news_are_heard_in_order_across_a_restart(
    api_settings: Settings, database: Database
) -> None:
    (port,) = free_ports(1)
    with ExchangeClient(f"http://127.0.0.1:{port}", TOKEN) as client:
        with _served(api_settings, port):
            bet = client.place("a1", "m1", 1, Side.BACK, Decimal(3), 1000, submission_id="s1")
            again = client.place("a1", "m1", 1, Side.BACK, Decimal(3), 1000, submission_id="s1")
            assert (again.bet_id, bet.status) == (bet.bet_id, BetStatus.PENDING)
            with pytest.raises(ApiError, match="insufficient_funds"):
                client.place("a1", "m1", 1, Side.BACK, Decimal(3), 100_000)
            newest = Outbox(database).newest()
            _change(database, bet.bet_id, BetStatus.OPEN)
            news = client.changes("a1", after=newest)
            seen = [next(news)]
        with _served(api_settings, port):
            _change(database, bet.bet_id, BetStatus.OPEN, matched_minor=400, remaining_minor=600)
            seen.append(next(news))
            _change(database, bet.bet_id, BetStatus.MATCHED, matched_minor=1000, remaining_minor=0)
            seen.append(next(news))
            assert [one.bet_id for one in client.bets("a1")] == [bet.bet_id]
            assert client.bet(bet.bet_id).status is BetStatus.MATCHED
    assert [change.change for _, change in seen] == ["accepted", "matched", "matched"]
    assert [change.bet.version for _, change in seen] == [2, 3, 4]
    assert [number for number, _ in seen] == sorted(number for number, _ in seen)


def test_a_token_that_is_refused_and_one_that_may_not_are_errors_of_their_own(
    api_settings: Settings, database: Database
) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    reader = make_token(database, "reader", [Scope.READ], accounts=["a1"])
    with _served(api_settings, port):
        with ExchangeClient(url, draw_token()) as stranger, pytest.raises(TokenRefused) as refused:
            stranger.wallet("a1")
        assert (refused.value.status, refused.value.code) == (401, "unauthorized")
        with ExchangeClient(url, reader) as client:
            assert client.wallet("a1").balance_minor == 10_000
            with pytest.raises(MissingScope, match="this token of reader has read") as missing:
                client.deposit("a1", 100, authorised_by="the bank")
            assert (missing.value.needed, missing.value.scopes) == ("money", ["read"])
            with pytest.raises(TokenRefused), ExchangeClient(url, draw_token()) as other:
                next(other.changes("a1"))


def test_a_server_that_is_not_there_is_said_to_be_away() -> None:
    (port,) = free_ports(1)
    with ExchangeClient(f"http://127.0.0.1:{port}", TOKEN) as client, pytest.raises(ApiUnavailable):
        client.register("ann@example.org", "Ann")
