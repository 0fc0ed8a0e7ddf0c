"""Deterministic, legal streams of records for tests and benchmarks: bets placed, matched against each other
and settled.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec

from exchange_platform.domain.bets import BetResult, BetStatus, Side, winnings_minor
from exchange_platform.domain.records import BetUpdate, Execution, Record

START = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
ODDS = tuple(Decimal(text) for text in ("1.5", "2", "2.5", "3.45", "5.1", "11", "34"))


def matched_pairs(
    pairs: int,
    *,
    users: int = 200,
    markets: int = 10,
    seed: int = 1,
    start: datetime = START,
    step: timedelta = timedelta(milliseconds=20),
    prefix: str = "",
    settle: bool = True,
) -> Iterator[Record]:
    """For each pair: a lay and a back are opened, matched by one execution and, some time later, settled: 7
    records a pair.
    """
    chance = random.Random(seed)
    waiting: list[tuple[BetUpdate, BetUpdate]] = []
    now = start
    for number in range(pairs):
        now += step
        market = f"1.{chance.randrange(markets):04d}"
        selection = chance.randrange(1, 4)
        odds = chance.choice(ODDS)
        stake = chance.randrange(200, 20_000)
        backer, layer = chance.sample(range(users), 2)
        lay = _opened(f"{prefix}l{number:08d}", layer, market, selection, Side.LAY, odds, stake, now)
        back = _opened(f"{prefix}b{number:08d}", backer, market, selection, Side.BACK, odds, stake, now)
        yield lay
        yield back
        yield Execution(
            execution_id=f"{prefix}{market}-{number:010d}",
            event_id=f"e{market}",
            market_id=market,
            selection_id=selection,
            odds=odds,
            stake=Decimal(stake) / 100,
            executed_at=now,
            back_bet_id=back.bet_id,
            lay_bet_id=lay.bet_id,
        )
        matched = (_matched(lay, now), _matched(back, now))
        yield from matched
        waiting.append(matched)
        if settle and len(waiting) > 50:
            yield from _settled(*waiting.pop(0), won=chance.random() < 0.4, now=now)
    if settle:
        for pair in waiting:
            yield from _settled(*pair, won=chance.random() < 0.4, now=now)


def _opened(
    bet_id: str, user: int, market: str, selection: int, side: Side, odds: Decimal, stake: int, now: datetime
) -> BetUpdate:
    return BetUpdate(
        bet_id=bet_id,
        version=1,
        user_id=f"user-{user:05d}",
        event_id=f"e{market}",
        market_id=market,
        selection_id=selection,
        side=side,
        odds=odds,
        currency="GBP",
        stake_minor=stake,
        remaining_minor=stake,
        status=BetStatus.OPEN,
        number_of_selections=3,
        placed_at=now,
        updated_at=now,
    )


def _matched(bet: BetUpdate, now: datetime) -> BetUpdate:
    return msgspec.structs.replace(
        bet,
        version=2,
        status=BetStatus.MATCHED,
        matched_minor=bet.stake_minor,
        remaining_minor=0,
        matched_winnings_minor=winnings_minor(bet.stake_minor, bet.odds),
        updated_at=now,
    )


def _settled(lay: BetUpdate, back: BetUpdate, *, won: bool, now: datetime) -> Iterator[BetUpdate]:
    for bet, wins in ((lay, not won), (back, won)):
        if bet.side is Side.BACK:
            profit = bet.matched_winnings_minor if wins else -bet.matched_minor
        else:
            profit = bet.matched_minor if wins else -bet.matched_winnings_minor
        yield msgspec.structs.replace(
            bet,
            version=3,
            status=BetStatus.SETTLED,
            result=BetResult.WON if wins else BetResult.LOST,
            profit_minor=profit,
            commission_minor=max(0, profit) // 50,
            updated_at=now,
        )
