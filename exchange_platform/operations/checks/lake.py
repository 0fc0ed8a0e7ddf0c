"""Does the lake agree with the operational database, and its windows with its executions? Not here: the
lake's SQL (stores/).

The stores are written one after the other, so they are compared at positions of the stream, never at
instants: what the operational database held must be in the lake once the lake has come as far, and what the
lake holds must be in the operational database by then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from exchange_platform.domain.bets import BetStatus
from exchange_platform.domain.windows import WINDOW
from exchange_platform.operations.checks.outcomes import MAX_NAMED, CheckOutcome, listed
from exchange_platform.operations.checks.spans import ALWAYS, CheckedSpan, second, spans
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.lake import losses as lake_losses
from exchange_platform.stores.lake.bets import BetState, BetSums
from exchange_platform.stores.lake.losses import LakeLoss, LossState
from exchange_platform.stores.operational.database import Database, bets, checkpoints
from exchange_platform.streams.engine.source import SHARD_END
from exchange_platform.streams.sinks.operational import OPERATIONAL_DATABASE
from exchange_platform.streams.sources.names import EXCHANGE_BETS

HOUR = timedelta(hours=1)
_MAX_LOOKED_AT = 10_000
"""Disagreeing windows of a span that are looked at where accepted losses explain some of them."""
_LOOKS, _PAUSE_S = 6, 1.0
_SUSPECTS = 20

Wait = Callable[[float], None]


class _Behind(Exception):
    """The lake did not come as far as the operational database in time."""


def lake_agrees(
    database: Database, lake: Lake, placed: Sequence[CheckedSpan] = (ALWAYS,), *, wait: Wait = time.sleep
) -> CheckOutcome:
    """The newest version of each bet placed in these spans is the same in the lake as in the operational
    database.

    A bet that is only PENDING is left out: the exchange has not reported it yet. Waits up to some seconds for
    the lake to come as far; where it does not, nothing is compared. A difference counts once it was seen
    again and again for as long.
    """
    compared = 0
    wrong: dict[int, str] = {}
    try:
        for part in _parts(database, placed):
            here, there = _compare_sums(database, lake, part, wait)
            compared += sum(sums.bets for sums in here.values())
            suspects = sorted(
                number for number in here.keys() | there.keys() if here.get(number) != there.get(number)
            )
            # Seconds whose bets change just now differ by what the lake took meanwhile; the oldest are the
            # least likely to.
            wrong |= _really_wrong(database, lake, suspects[:_SUSPECTS], wait)
            if len(wrong) >= MAX_NAMED:
                break
    except _Behind as error:
        return CheckOutcome(False, f"not compared: {error}", {"bets": compared}, compared=False)
    figures = {"bets": compared, "wrong_seconds": len(wrong)}
    if wrong:
        seconds = sorted(wrong)
        named = tuple(second(number).isoformat() for number in seconds[:MAX_NAMED])
        return CheckOutcome(False, listed(wrong[number] for number in seconds), figures, named)
    share = "" if any(span.always for span in placed) else " (this round's share of the bets)"
    return CheckOutcome(True, f"both have the same {compared} bets{share}", figures)


def _parts(database: Database, placed: Iterable[CheckedSpan]) -> Iterable[CheckedSpan]:
    return (part for span in placed for part in spans(database, span))


def windows_agree(lake: Lake, hours: Sequence[datetime] | None = None) -> CheckOutcome:
    """Every closed window is what its executions give now. Of these hours (UTC), or of all.

    Windows of executions whose loss was accepted are left out: their closed rows are all that is left of
    them.
    """
    counts = lake.counts()
    losses = [loss for loss in lake_losses.losses(lake.connection) if loss.table == "executions"]
    accepted = [loss for loss in losses if loss.state is LossState.ACCEPTED]
    limit = MAX_NAMED if not accepted else _MAX_LOOKED_AT
    spans: Sequence[tuple[datetime | None, datetime | None]] = (
        [(None, None)] if hours is None else [(hour, hour + HOUR) for hour in hours]
    )
    wrong = [
        window
        for since, until in spans
        for window in lake.disagreeing_windows(since=since, until=until, limit=limit)
        if not any(_covers(loss, window) for loss in accepted)
    ]
    figures = {
        "closed": counts.closed_windows,
        "open": counts.open_windows,
        "wrong_windows": len(wrong),
    }
    if wrong:
        market_id, selection_id, _, start = wrong[0]
        lost = [
            loss
            for loss in losses
            if loss.state is LossState.OPEN and any(_covers(loss, one) for one in wrong)
        ]
        remedy = (
            f"executions were lost: {listed(loss.described for loss in lost)}; `exchange-platform restore-lake` restores what it can"
            if lost
            else "materialise odds_windows for that day"
        )
        return CheckOutcome(
            False,
            f"{len(wrong)}{' or more' if len(wrong) >= MAX_NAMED else ''} closed windows are not what their executions give,"
            f" first {market_id} {selection_id} {start:%Y-%m-%d %H:%M}; {remedy}",
            figures,
            tuple(sorted({_hour(start).isoformat() for *_, start in wrong})[:MAX_NAMED]),
        )
    share = "" if hours is None else " (this round's share of the hours)"
    gaps = f"; {listed(loss.described for loss in accepted)}" if accepted else ""
    return CheckOutcome(
        True, f"{counts.closed_windows} closed windows are what their executions give{share}{gaps}", figures
    )


def _covers(loss: LakeLoss, window: tuple[Any, ...]) -> bool:
    """Whether the window's executions may be among the lost ones."""
    market_id, _, _, start = window
    if loss.since is None or loss.until is None:
        return True
    of_market = not loss.missing or market_id in loss.missing
    return of_market and loss.since < start + WINDOW and start <= loss.until


def _hour(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)


def _compare_sums(
    database: Database, lake: Lake, span: CheckedSpan, wait: Wait
) -> tuple[dict[int, BetSums], dict[int, BetSums]]:
    """Per second of placing, the sums of the bets here, and in the lake once it has come as far."""
    at = (bets.c.placed_at_us - bets.c.placed_at_us % 1_000_000).label("at")
    with database.read() as connection:
        here = {
            int(at_us) // 1_000_000: BetSums(*(int(value) for value in told))
            for at_us, *told in connection.execute(
                sa.select(
                    at,
                    sa.func.count(),
                    sa.func.sum(bets.c.version),
                    sa.func.sum(bets.c.matched_minor),
                    sa.func.sum(bets.c.remaining_minor),
                    sa.func.sum(bets.c.profit_minor),
                )
                .where(span.where(bets.c.placed_at_us), _TOLD)
                .group_by(at)
            )
        }
        reached = _reached(connection)
    _wait_for(lake, reached, wait)
    return here, lake.bet_sums(span.since, span.until)


_TOLD = bets.c.status != BetStatus.PENDING.value


def _really_wrong(database: Database, lake: Lake, seconds: Collection[int], wait: Wait) -> dict[int, str]:
    """Of the seconds whose sums differ, those whose bets differ still when looked at one by one, with an
    example.
    """
    wrong: dict[int, str] = {}
    for look in range(_LOOKS):
        if not seconds:
            return {}
        before, reached = _bets_here(database, seconds)
        _wait_for(lake, reached, wait)
        there = lake.newest_bets(seconds)
        after, _ = _bets_here(database, seconds)
        wrong = _differences(before, there, after)
        seconds = sorted(wrong)
        if seconds and look + 1 < _LOOKS:
            wait(_PAUSE_S)
    return wrong


def _differences(
    before: Mapping[str, BetState],
    there: Mapping[str, BetState],
    after: Mapping[str, BetState],
) -> dict[int, str]:
    """By second: a bet that the lake should have had since `before`, or has and `after` has not."""
    wrong: dict[int, str] = {}
    for bet_id, here in before.items():
        lakes = there.get(bet_id)
        bet = f"bet {bet_id} of {here.user_id} at version {here.version}"
        if lakes is None:
            wrong.setdefault(here.second, f"{bet} is not in the lake (bet_history)")
        elif lakes.version < here.version:
            wrong.setdefault(here.second, f"{bet}: the lake has version {lakes.version} (bet_history)")
        elif lakes.version == here.version and lakes != here:
            wrong.setdefault(here.second, f"{bet} differs from the lake's (bet_history)")
    for bet_id, lakes in there.items():
        now = after.get(bet_id)
        if now is None or now.version < lakes.version:
            held = "it is not in bets" if now is None else f"bets has version {now.version}"
            wrong.setdefault(lakes.second, f"the lake has bet {bet_id} at version {lakes.version}, {held}")
    return wrong


def _bets_here(database: Database, seconds: Iterable[int]) -> tuple[dict[str, BetState], dict[str, str]]:
    """Every bet placed in these seconds, and the positions that hold at least these."""
    found: dict[str, BetState] = {}
    columns = sa.select(
        bets.c.bet_id,
        bets.c.user_id,
        bets.c.version,
        bets.c.status,
        bets.c.matched_minor,
        bets.c.remaining_minor,
        bets.c.profit_minor,
    ).where(_TOLD)
    with database.read() as connection:
        for number in seconds:
            placed = CheckedSpan(second(number), second(number + 1))
            for bet_id, *told in connection.execute(columns.where(placed.where(bets.c.placed_at_us))):
                found[bet_id] = BetState(number, *told)
        return found, _reached(connection)


def _reached(connection: sa.Connection) -> dict[str, str]:
    """By shard that is read now, up to where the operational database holds it. Shards of streams that are
    gone stay where they are.
    """
    rows = connection.execute(
        sa.select(checkpoints.c.shard, checkpoints.c.epoch, checkpoints.c.position).where(
            checkpoints.c.sink == OPERATIONAL_DATABASE, checkpoints.c.source == EXCHANGE_BETS
        )
    ).all()
    newest = max((row.epoch for row in rows), default=0)
    return {row.shard: row.position for row in rows if row.epoch == newest and row.position is not None}


def _wait_for(lake: Lake, reached: Mapping[str, str], wait: Wait) -> None:
    """Return once the lake has come so far. Raises `_Behind`."""
    for look in range(_LOOKS):
        held = lake.positions(EXCHANGE_BETS)
        behind = [shard for shard, position in reached.items() if not _is_at_least(held.get(shard), position)]
        if not behind:
            return
        if look + 1 < _LOOKS:
            wait(_PAUSE_S)
    raise _Behind(
        f"the lake is behind the operational database in {', '.join(behind)} since {(_LOOKS - 1) * _PAUSE_S:g} s"
    )


def _is_at_least(position: str | None, other: str) -> bool:
    if position in (other, SHARD_END):
        return True
    return position is not None and other != SHARD_END and int(position) >= int(other)
