"""Do the stores hold what the exchange says it did? Asking for what they lack lives in missing.py.

The exchange reports by market and minute how many executions and bet versions it published, with sums, and
which bets changed. A minute is compared once the exchange knows that every store has committed it, so what is
still on its way is never taken for lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import sqlalchemy as sa

from exchange_platform.domain.bet_digest import DIGESTED, bet_digest
from exchange_platform.domain.exchange_reports import MarketMinute, ReportedBet, ReportedSpan
from exchange_platform.operations.checks.outcomes import MAX_NAMED, CheckOutcome, listed
from exchange_platform.process.clock import Clock
from exchange_platform.process.decoders import json_decoder
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.lake.minutes import NOTHING, MinuteSums, minute_sums, newest_versions
from exchange_platform.stores.operational.database import Database, bets, from_us
from exchange_platform.stores.operational.upsert import Lookup
from exchange_platform.submission.exchange_asking import ReportsExchange
from exchange_platform.submission.reconciliation import NEVER_TAKEN

MINUTE = timedelta(minutes=1)
NEWEST, OLDER = timedelta(minutes=15), timedelta(minutes=30)
"""So much of the newest, and of older minutes, is compared in a round."""
PORTION = timedelta(hours=1)
GRACE = timedelta(minutes=10)
"""An exchange that does not know what is committed is compared up to so long ago."""
OVERDUE = timedelta(minutes=15)
"""What the stores have not committed after so long counts as missing."""
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Difference:
    """A market's minute that a store does not hold as the exchange reports it."""

    market_id: str
    minute: datetime
    said: str


class ComparisonProgress(msgspec.Struct, frozen=True):
    """How far the rounds have come: downwards from these instants, beside the newest minutes and what was
    wrong.
    """

    before: datetime | None = None
    bets_before: datetime | None = None
    wrong: tuple[datetime, ...] = ()

    @classmethod
    def from_text(cls, text: str) -> ComparisonProgress:
        """Read what `to_text` wrote; anything else begins again."""
        try:
            return _progress.decode(text or "{}")
        except msgspec.MsgspecError:
            return cls()

    def to_text(self) -> str:
        """A short text to keep until the next round."""
        return msgspec.json.encode(self).decode()


_progress = json_decoder(ComparisonProgress)


@dataclass(frozen=True, slots=True)
class _Share:
    """What a round looks at: spans of minutes whose sums are compared, and minutes whose bets are."""

    spans: Sequence[tuple[datetime, datetime]]
    bets: Sequence[datetime]


def exchange_agrees(
    database: Database, lake: Lake, exchange: ReportsExchange, clock: Clock, progress: str | None = None
) -> CheckOutcome:
    """Every execution and bet version that the exchange reports is in the lake, and the bets are in the
    operational database.

    `progress` is what the last round `reached`; None compares everything that the exchange still reports. An
    exchange that gives no report is not compared. Raises `ExchangeUnavailable` and `StoreUnavailable`.
    """
    now = from_us(clock.now_us())
    head = exchange.report(now, now)
    if head is None:
        return CheckOutcome(
            False,
            "not compared: the exchange gives no report of what it did",
            compared=False,
            reached=progress,
        )
    known = ComparisonProgress.from_text(progress or "")
    until = compared_until(head, now)
    share = _everything(head, until) if progress is None else _share(head, until, known)
    sums = _Compared()
    for since, to in share.spans:
        sums.add(exchange, lake, since, to)
    wrong_bets: list[Difference] = []
    looked_at = 0
    for minute in share.bets:
        listed_bets = exchange.report_bets(minute)
        looked_at += len(listed_bets or ())
        wrong_bets += differing_bets(database, minute, listed_bets or ())
    differences = [*_with_bets(exchange, lake, sums.differences), *wrong_bets]
    wrong = sorted({difference.minute for difference in differences})
    reached = ComparisonProgress(
        min((since for since, _ in share.spans), default=None),
        min(share.bets, default=None),
        tuple(wrong[:MAX_NAMED]),
    )
    figures: dict[str, int | float | str] = {
        "market_minutes": sums.minutes,
        "executions": sums.executions,
        "bet_versions": sums.bet_versions,
        "bets": looked_at,
        "wrong_minutes": len(wrong),
        "compared_until": until.isoformat(),
    }
    if head.dropped_records:
        figures["dropped_by_the_exchange"] = head.dropped_records
    named = tuple(minute.isoformat() for minute in wrong[:MAX_NAMED])
    if differences:
        return CheckOutcome(
            False,
            listed(difference.said for difference in differences),
            figures,
            named,
            reached=reached.to_text(),
        )
    if head.acknowledged_until is not None and head.until - until > OVERDUE:
        late = f"the stores have not committed what happened on the exchange since {until:%Y-%m-%d %H:%M} UTC"
        return CheckOutcome(False, late, figures, reached=reached.to_text())
    said = (
        f"{sums.executions} executions and {sums.bet_versions} bet versions of {sums.minutes} market minutes are as the"
        f" exchange reports them, and so are {looked_at} bets{'' if progress is None else ' (this round' + chr(39) + 's share)'}"
    )
    return CheckOutcome(True, said, figures, reached=reached.to_text())


def compared_until(head: ReportedSpan, now: datetime) -> datetime:
    """The whole minutes before this are compared: every store had committed them."""
    committed = head.acknowledged_until if head.acknowledged_until is not None else now - GRACE
    return max(_minute(min(head.until, committed)), _minute(head.since))


def portions(head: ReportedSpan, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """All that the exchange reports up to there, in spans, newest first."""
    first = max(_minute(head.since), _BEGINNING)
    while until > first:
        since = max(first, until - PORTION)
        yield since, until
        until = since


def listed_minutes(head: ReportedSpan, until: datetime) -> Iterator[datetime]:
    """The minutes before that whose bets the exchange lists, newest first."""
    minute = until - MINUTE
    while minute >= head.records_since:
        yield minute
        minute -= MINUTE


def differing_minutes(report: ReportedSpan, lake: Lake, since: datetime, until: datetime) -> list[Difference]:
    """The market minutes of that span that the lake does not hold as reported. Markets that the exchange has
    nothing of are no concern of it.
    """
    reported = {(one.market_id, _number(one.minute)): one for one in report.minutes}
    markets = {market_id for market_id, _ in reported}
    held = minute_sums(lake, since, until, [NEVER_TAKEN])
    wrong: list[Difference] = []
    for key in sorted(
        reported.keys() | {key for key in held if key[0] in markets}, key=lambda key: key[::-1]
    ):
        there, here = _sums(reported.get(key)), held.get(key, NOTHING)
        if there != here:
            wrong.append(_difference(key, there, here))
    return wrong


def differing_bets(database: Database, minute: datetime, reported: Sequence[ReportedBet]) -> list[Difference]:
    """The reported bets of a minute that the operational database lacks, or holds in an older or another
    state; one a market at least.
    """
    with database.read() as connection:
        held = {row.bet_id: row for row in _BETS.rows(connection, sorted(bet.bet_id for bet in reported))}
    wrong: list[Difference] = []
    for bet in reported:
        row = held.get(bet.bet_id)
        if row is None:
            said = f"bet {bet.bet_id} is not in bets (operational database); the exchange has version {bet.version}"
        elif row.version < bet.version:
            said = f"bet {bet.bet_id} is at version {row.version} in bets (operational database), on the exchange at {bet.version}"
        elif row.version == bet.version and bet_digest(*row) != bet.digest:
            said = f"bet {bet.bet_id} at version {bet.version} differs in bets (operational database) from the exchange's"
        else:
            continue
        wrong.append(Difference(bet.market_id, minute, said))
    return wrong


class _Compared:
    """What the rounds' spans come to."""

    def __init__(self) -> None:
        self.minutes = self.executions = self.bet_versions = 0
        self.differences: list[Difference] = []

    def add(self, exchange: ReportsExchange, lake: Lake, since: datetime, until: datetime) -> None:
        """Compare a span."""
        report = exchange.report(since, until)
        if report is None:
            return
        self.minutes += len(report.minutes)
        self.executions += sum(one.executions for one in report.minutes)
        self.bet_versions += sum(one.bet_versions for one in report.minutes)
        self.differences += differing_minutes(report, lake, since, until)


def _everything(head: ReportedSpan, until: datetime) -> _Share:
    return _Share(list(portions(head, until)), list(listed_minutes(head, until)))


def _share(head: ReportedSpan, until: datetime, known: ComparisonProgress) -> _Share:
    since = _minute(head.since)
    newest = max(since, until - NEWEST)
    spans = [(newest, until)] if newest < until else []
    if newest > since:
        before = known.before if known.before is not None and since < known.before <= newest else newest
        spans.append((max(since, before - OLDER), before))
    minutes = []
    if until - MINUTE >= head.records_since:
        minutes.append(until - MINUTE)
        older = known.bets_before
        if older is None or not head.records_since < older < until:
            older = until - MINUTE
        if older - MINUTE >= head.records_since:
            minutes.append(older - MINUTE)
    for minute in known.wrong:
        if since <= minute < until:
            if not any(begin <= minute < end for begin, end in spans):
                spans.append((minute, minute + MINUTE))
            if minute >= head.records_since and minute not in minutes:
                minutes.append(minute)
    return _Share(spans, minutes)


def _with_bets(
    exchange: ReportsExchange, lake: Lake, differences: Iterable[Difference]
) -> Iterator[Difference]:
    """The differences; of the first ones with a bet that the lake lacks, where the exchange still lists its
    bets.
    """
    for place, one in enumerate(differences):
        missing = _missing_in_lake(exchange, lake, one) if place < MAX_NAMED else []
        if missing:
            yield Difference(
                one.market_id, one.minute, f"{one.said}, such as {', '.join(missing[:3])} (bet_history)"
            )
        else:
            yield one


def _missing_in_lake(exchange: ReportsExchange, lake: Lake, one: Difference) -> list[str]:
    reported = exchange.report_bets(one.minute, one.market_id) or []
    held = newest_versions(lake, one.minute, one.minute + MINUTE, one.market_id)
    return [
        f"bet {bet.bet_id} at version {bet.version}"
        for bet in reported
        if held.get(bet.bet_id, 0) < bet.version
    ]


def _difference(key: tuple[str, int], there: MinuteSums, here: MinuteSums) -> Difference:
    market_id, number = key
    minute = from_us(number * 60_000_000)
    parts: list[str] = []
    if there[:2] != here[:2]:
        parts.append(
            f"the exchange has {there.executions} executions of {there.stake:,.2f}, the lake {here.executions} of {here.stake:,.2f}"
        )
    if there[2:] != here[2:]:
        same = there.bet_versions == here.bet_versions
        parts.append(
            f"the exchange has {there.bet_versions} bet versions, the lake {'others' if same else here.bet_versions}"
        )
    return Difference(
        market_id, minute, f"market {market_id} at {minute:%Y-%m-%d %H:%M} UTC: {' and '.join(parts)}"
    )


def _sums(one: MarketMinute | None) -> MinuteSums:
    if one is None:
        return NOTHING
    return MinuteSums(
        one.executions,
        one.stake,
        one.bet_versions,
        one.versions,
        one.matched_minor,
        one.remaining_minor,
        one.profit_minor,
    )


_BETS = Lookup(sa.select(*(bets.c[name] for name in DIGESTED)), bets.c.bet_id)


def _minute(instant: datetime) -> datetime:
    return instant.replace(second=0, microsecond=0)


def _number(minute: datetime) -> int:
    return int(minute.timestamp()) // 60
