"""An application that bets: an account confirmed and funded, bets on whatever is open, waiting until each is
over.

    python docs/examples/place_bets.py DATA_DIR ACCOUNT_ID [BETS]

The platform must run on DATA_DIR with its simulated exchange (`make demo`), and the account be confirmed.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

from exchange_platform.client import ApiError, BetView, ExchangeClient
from exchange_platform.domain.bets import BetStatus, Side

STAKE_MINOR = 200


def main(data_dir: Path, account_id: str, wanted: int) -> int:
    """Place so many bets and tell what became of them."""
    chance = random.Random(1)
    with ExchangeClient.of_platform(data_dir) as client:
        client.deposit(
            account_id, wanted * STAKE_MINOR, authorised_by="example", request_id=f"example-{wanted}"
        )
        placed: list[str] = []
        while len(placed) < wanted:
            for market_id, selection_id in _open_selections(client):
                if len(placed) < wanted:
                    odds = Decimal(chance.choice(("1.5", "2", "3", "5")))
                    try:
                        bet = client.place(account_id, market_id, selection_id, Side.BACK, odds, STAKE_MINOR)
                        placed.append(bet.bet_id)
                    except ApiError as refused:  # it was suspended meanwhile, say
                        print(refused)
            time.sleep(1)  # bets of one moment meet the same suspensions
        print(f"{len(placed)} bets placed")
        ended = _wait_until_over(client, placed)
        print(", ".join(f"{count} {status.value}" for status, count in ended.items()))
        print(client.wallet(account_id))
    return 0


def _open_selections(client: ExchangeClient) -> list[tuple[str, int]]:
    found = []
    for event in client.events(status="IN_PLAY", limit=20)["events"]:
        for market in client.event(event["event_id"])["markets"]:
            if market["status"] == "OPEN":
                found += [
                    (market["market_id"], one["selection_id"])
                    for one in market["selections"]
                    if one["handicap"] == "0"
                ]
    return found


def _wait_until_over(client: ExchangeClient, placed: list[str]) -> Counter[BetStatus]:
    while True:
        bets: list[BetView] = [client.bet(bet_id) for bet_id in placed]
        if all(bet.over or bet.status is BetStatus.MATCHED for bet in bets):
            return Counter(bet.status for bet in bets)
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 20))
