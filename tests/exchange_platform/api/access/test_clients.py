"""Whose call it is: nobody lends himself another address, and a whole IPv6 network is one caller."""

from __future__ import annotations

import pytest

from exchange_platform.api.access.clients import client_address
from exchange_platform.settings import Settings
from tests.exchange_platform.api.conftest import serving_accounts


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "client"),
    [
        ("192.0.2.1", [], 0, "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.9"], 0, "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.9"], 1, "198.51.100.9"),
        ("192.0.2.1", ["203.0.113.5, 198.51.100.9"], 1, "198.51.100.9"),
        ("192.0.2.1", ["203.0.113.5, 198.51.100.9"], 2, "203.0.113.5"),
        ("192.0.2.1", ["6.6.6.6, 203.0.113.5", "198.51.100.9"], 2, "203.0.113.5"),
        ("192.0.2.1", ["198.51.100.9"], 2, "198.51.100.9"),
        ("192.0.2.1", [], 1, "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.9:4711"], 1, "198.51.100.9"),
        ("192.0.2.1", ["[2001:db8::1]:4711"], 1, "2001:db8::/64"),
        ("2001:db8::1", [], 0, "2001:db8::/64"),
        ("2001:db8::2", [], 0, "2001:db8::/64"),
        ("fe80::1%eth0", [], 0, "fe80::/64"),
        ("::ffff:192.0.2.1", [], 0, "192.0.2.1"),
        ("192.0.2.1", ["rubbish"], 1, "unknown"),
        (None, [], 0, "unknown"),
        ("testclient", [], 0, "unknown"),
    ],
)
def test_the_client_is_who_the_trusted_proxies_say(
    peer: str | None, forwarded: list[str], trusted: int, client: str
) -> None:
    assert client_address(peer, forwarded, trusted) == client


@pytest.mark.parametrize(("trusted", "let_in"), [(0, 2), (1, 4)])
def test_a_forged_header_gets_nobody_round_a_limit(settings: Settings, trusted: int, let_in: int) -> None:
    with serving_accounts(
        settings, limit_registrations_client="2/minute", trusted_proxies=trusted
    ) as accounts:
        answers = [
            accounts.application.post(
                "/accounts",
                json={"email": f"ann{number}@example.com", "display_name": "Ann"},
                headers={"X-Forwarded-For": f"10.0.0.{number}, 198.51.100.{number % 2}"},
            ).status_code
            for number in range(6)
        ]
    assert answers.count(202) == let_in
    assert answers.count(429) == 6 - let_in
