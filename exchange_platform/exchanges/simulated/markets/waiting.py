"""Customers' bets that wait for their bet delay: taken, changed, placed when it is over, refused when the
market stops meanwhile.

Not here: reading and answering orders (desk.py), matching (market.py).
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from exchange_platform.domain.bets import BetStatus
from exchange_platform.domain.records import BetUpdate
from exchange_platform.exchanges.simulated.markets.market import LiveMarket
from exchange_platform.exchanges.simulated.states import WaitingOrder

MAX_REASON = 200


def refused(bet: BetUpdate, reason: str, now: datetime) -> BetUpdate:
    """The next version of a bet that is not taken: all of it counts as cancelled."""
    return msgspec.structs.replace(
        bet,
        version=bet.version + 1,
        status=BetStatus.REJECTED,
        remaining_minor=0,
        cancelled_minor=bet.cancelled_minor + bet.remaining_minor,
        reason=reason[:MAX_REASON],
        updated_at=now,
    )


def reduced(bet: BetUpdate, size_minor: int | None, now: datetime, reason: str | None = None) -> BetUpdate:
    """The next version of a pending bet that so much is taken out of, all of it by default."""
    taken = bet.remaining_minor if size_minor is None else min(size_minor, bet.remaining_minor)
    remaining = bet.remaining_minor - taken
    return msgspec.structs.replace(
        bet,
        version=bet.version + 1,
        status=BetStatus.PENDING if remaining else BetStatus.CANCELLED,
        remaining_minor=remaining,
        cancelled_minor=bet.cancelled_minor + taken,
        reason=reason,
        updated_at=now,
    )


def wait(live: LiveMarket, bet: BetUpdate, waiting: WaitingOrder, now: datetime) -> None:
    """Let a pending bet wait; its owner is notified that the exchange has it."""
    live.state.waiting = [*live.state.waiting, waiting]
    told = msgspec.structs.replace(
        bet, version=bet.version + 1, updated_at=now, reason=f"bet delay of {live.state.bet_delay_s:g} s"
    )
    live.keep(waiting.number, told)


def cancel_waiting(live: LiveMarket, number: int, size_minor: int | None, now: datetime) -> None:
    """Take so much out of a bet that waits; one with nothing left waits no more."""
    after = reduced(live.bets[number], size_minor, now)
    if after.status is not BetStatus.PENDING:
        live.state.waiting = [one for one in live.state.waiting if one.number != number]
    live.keep(number, after)


def refuse_waiting(live: LiveMarket, now: datetime, why: str) -> None:
    """Refuse all that wait: their market was suspended or closed meanwhile."""
    for waiting in live.state.waiting:
        live.keep(waiting.number, refused(live.bets[waiting.number], f"{why} during the bet delay", now))
    live.state.waiting = []


def place_due(live: LiveMarket, now_us: int, now: datetime) -> None:
    """Place the bets whose delay is over, in the order in which they were taken. Call while the market is
    open.
    """
    waiting = live.state.waiting
    if not waiting or waiting[0].due_us > now_us:
        return
    due = [one for one in waiting if one.due_us <= now_us]
    live.state.waiting = [one for one in waiting if one.due_us > now_us]
    for one in due:
        bet = live.bets[one.number]
        if one.replaces is None:
            live.match(one.number, bet, bet.remaining_minor, now, market_order=one.market_order)
        else:
            replace(live, one.number, bet, one.replaces, now)


def replace(live: LiveMarket, number: int, bet: BetUpdate, replaced: int, now: datetime) -> None:
    """Cancel what rests of the replaced bet, up to the new one's stake, and place so much as the new one;
    both or neither.
    """
    old = live.bets.get(replaced)
    if old is None or old.status is not BetStatus.OPEN:
        live.keep(number, refused(bet, "nothing of the replaced bet rests any more", now))
        return
    amount = min(old.remaining_minor, bet.remaining_minor)
    live.cancel(replaced, amount, now)
    live.match(number, bet, amount, now, market_order=False)
