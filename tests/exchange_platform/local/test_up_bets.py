"""The example application bets on the whole platform: each of its bets comes to an end, and wallet, mails,
profile view and lake tell the same.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from exchange_platform.client import ExchangeClient
from exchange_platform.domain.bets import BetStatus
from tests.exchange_platform.local.conftest import wait_until
from tests.exchange_platform.local.test_up import StartUp, assert_all_agrees, start_up
from tests.support.account_parts import codes_in, mailed_texts

pytestmark = [pytest.mark.faults, pytest.mark.alone, pytest.mark.timeout(900)]

__all__ = ["start_up"]

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "place_bets.py"
BETS = 500
MARKET_STOPPED = re.compile(r"market (closed|suspended)( during the bet delay|: market )")


def test_five_hundred_bets_of_the_example_end_and_everything_agrees(start_up: StartUp) -> None:
    up = start_up()
    up.wait_for("Data flows")
    mail = up.data_dir / "mail"
    with ExchangeClient.of_platform(up.data_dir) as client:
        account = client.register("bettor@example.com", "Bettor")
        wait_until(lambda: mailed_texts(mail, "bettor@example.com"), within_s=60)
        (code,) = codes_in(mailed_texts(mail, "bettor@example.com"))
        url = json.loads((up.data_dir / "api.json").read_text())["url"]
        assert httpx.post(f"{url}/confirm", data={"code": code}, trust_env=False).status_code == 200

        example = subprocess.run(
            [sys.executable, str(EXAMPLE), str(up.data_dir), account, str(BETS)],
            capture_output=True,
            text=True,
            check=False,
            timeout=800,
        )
        assert example.returncode == 0, example.stderr
        assert f"{BETS} bets placed" in example.stdout

        wait_until(lambda: up.status().caught_up, within_s=120, told=lambda: str(up.status()))
        bets = list(client.bets(account))
        assert len(bets) == len({bet.bet_id for bet in bets}) == BETS
        assert all(bet.over or bet.status is BetStatus.MATCHED for bet in bets)
        # Markets are suspended and closed meanwhile, as on any exchange.
        refused = [bet for bet in bets if bet.status is BetStatus.REJECTED]
        assert {bet.reason for bet in refused if not MARKET_STOPPED.match(bet.reason or "")} == set()
        assert len(refused) < BETS / 4
        wait_until(lambda: _profile(client, account) == _wallet(client, account), within_s=30)
        wait_until(lambda: _told(mail, "bettor@example.com") == {bet.bet_id for bet in bets}, within_s=60)

    up.process.terminate()
    assert up.process.wait(30) == 0
    assert_all_agrees(up.data_dir)


def _profile(client: ExchangeClient, account: str) -> tuple[int, int, int]:
    told = client.profile(account)
    return told["bets"], told["balance_minor"], told["exposure_minor"]


def _wallet(client: ExchangeClient, account: str) -> tuple[int, int, int]:
    """The same from the wallet; the balance must be what came in and what the bets made of it."""
    wallet = client.wallet(account)
    bets = list(client.bets(account))
    made = sum(bet.profit_minor - bet.commission_minor for bet in bets)
    placed = sum(bet.status is not BetStatus.REJECTED for bet in bets)
    return placed, wallet.deposited_minor + made, wallet.exposure_minor


def _told(mail: Path, address: str) -> set[str]:
    """The bets of which mails told."""
    return {found for text in mailed_texts(mail, address) for found in re.findall(r"\bBet (\S+), \d", text)}
