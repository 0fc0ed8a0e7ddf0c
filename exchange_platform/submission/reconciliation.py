"""Bets that stay PENDING: the exchange is asked what became of them. Not here: orders that were not published
(order_publishing.py).

A bet that is PENDING for longer than `pending_limit_s` is unknown: its order was lost, or the answer to it.
It is never ordered again under another id; what the exchange says of its id is applied, here and through the
stream, so that every store has it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from exchange_platform.domain.bets import Bet, BetStatus
from exchange_platform.domain.records import BetUpdate, encode
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock, ahead_us
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.operational.bets.bets import apply_bet_updates
from exchange_platform.stores.operational.bets.rows import bet_from_row
from exchange_platform.stores.operational.consumers.consumers import ConsumerRow, ConsumerRows
from exchange_platform.stores.operational.database import Database, bets, from_us
from exchange_platform.stores.operational.tables.wallets import order_outbox, pending_bets, replacements
from exchange_platform.streams.engine.sharing import consumer_names
from exchange_platform.streams.sources.kinesis import Publisher
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from exchange_platform.submission.exchange_asking import AsksExchange, exchange_of
from exchange_platform.submission.order_publishing import OrdersPublisher

log = logging.getLogger(__name__)

MAX_PER_ROUND = 200
_CAUGHT_UP_WITHIN_US = 10_000_000
"""A consumer at work says that it is caught up with each heartbeat."""
NEVER_TAKEN = "the exchange never took it"


class _Unknown(NamedTuple):
    bet: Bet
    replaces: str | None
    published_at_us: int | None


class _Contradiction(Exception):
    """What was reported can't follow from what is known."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What came of a round: bet ids, and for the contradictions why."""

    answered: Sequence[str] = ()
    """The exchange had more to tell; it is applied."""
    lapsed: Sequence[str] = ()
    """The exchange does not have it and can't get it any more."""
    unknown: Sequence[str] = ()
    """The exchange does not have it, says no more than is known, or more than one version that the stream may
    still bring; it is asked again next time.
    """
    contradictions: dict[str, str] = field(default_factory=dict)
    """The exchange says what can't follow from what is known: for an operator."""


def reconcile_bets(settings: Settings, database: Database) -> Reconciled:
    """One round with the exchange and the streams that the settings name. Raises as `Reconciliation.run`."""
    exchange = exchange_of(settings)
    publisher = Publisher(aws_client(settings, "kinesis"), settings.bets_stream, give_up_after_s=3.0)
    try:
        return Reconciliation(settings, database, exchange, publisher).run()
    finally:
        exchange.close()


class Reconciliation:
    """Asks for unknown bets and applies the answers."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        exchange: AsksExchange,
        bets_publisher: OrdersPublisher,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`bets_publisher` publishes to `exchange-bets`."""
        self._settings = settings
        self._database = database
        self._exchange = exchange
        self._publisher = bets_publisher
        self._clock = clock

    def run(self) -> Reconciled:
        """Ask for every unknown bet, oldest first, some at a time. Raises `StoreUnavailable`,
        `StreamUnavailable`, `ExchangeUnavailable`.

        What was asked before the error is applied.
        """
        now_us = self._clock.now_us()
        found: dict[str, list[str]] = {"answered": [], "lapsed": [], "unknown": []}
        contradictions: dict[str, str] = {}
        for one in self._unknown(now_us):
            told = self._exchange.bet(one.bet.bet_id)
            outcome = "answered"
            if told is None and self._is_past(one, now_us):
                told, outcome = _lapsed(one.bet, now_us), "lapsed"
            skips = told is not None and told.version > one.bet.version + 1
            if told is None or told.version <= one.bet.version or (skips and self._stream_may_tell(now_us)):
                found["unknown"].append(one.bet.bet_id)
                continue
            reason = self._apply([*self._replaced(one), told])
            if reason is None:
                found[outcome].append(one.bet.bet_id)
            else:
                contradictions[one.bet.bet_id] = reason
        return Reconciled(**found, contradictions=contradictions)

    def _stream_may_tell(self, now_us: int) -> bool:
        """Whether the versions between may still come by the stream, each with news for the bet's owner: then
        none is skipped.

        They may while a consumer of the stream is behind or silent, and while the stream is new: the exchange
        publishes again what a lost one held. Without any consumer nobody else would tell.
        """
        rows = ConsumerRows(self._database)
        newest = [rows.newest(name) for name in consumer_names(self._settings, EXCHANGE_BETS)]
        young_us = now_us - int(self._settings.pending_limit_s * 1e6)
        return any(
            (row.caught_up_at_us or 0) < now_us - _CAUGHT_UP_WITHIN_US or _newest_stream_us(row) > young_us
            for row in newest
            if row is not None
        )

    def _unknown(self, now_us: int) -> list[_Unknown]:
        before_us = now_us - int(self._settings.pending_limit_s * 1e6)
        replaced = (
            sa.select(replacements.c.bet_id)
            .where(replacements.c.new_bet_id == bets.c.bet_id)
            .correlate(bets)
            .scalar_subquery()
        )
        published = (
            sa.select(sa.func.max(order_outbox.c.published_at_us))
            .where(sa.or_(order_outbox.c.bet_id == bets.c.bet_id, order_outbox.c.bet_id == replaced))
            .correlate(bets)
            .scalar_subquery()
        )
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(bets, replaced.label("replaces"), published.label("published_at_us"))
                .select_from(pending_bets.join(bets, bets.c.bet_id == pending_bets.c.bet_id))
                .where(
                    sa.or_(pending_bets.c.since_us <= before_us, pending_bets.c.since_us > ahead_us(now_us))
                )
                .order_by(pending_bets.c.since_us)
                .limit(MAX_PER_ROUND)
            ).all()
        return [_Unknown(bet_from_row(row), row.replaces, row.published_at_us) for row in rows]

    def _is_past(self, one: _Unknown, now_us: int) -> bool:
        """Whether the order is gone from the stream without having been taken: then it will never be."""
        kept_us = int(self._settings.orders_kept_s * 1e6)
        return one.published_at_us is not None and one.published_at_us + kept_us < now_us

    def _replaced(self, one: _Unknown) -> list[BetUpdate]:
        """What became of the bet whose rest it was to take over: to be known first, as in the stream, or both
        would count.
        """
        told = self._exchange.bet(one.replaces) if one.replaces is not None else None
        return [told] if told is not None else []

    def _apply(self, told: Sequence[BetUpdate]) -> str | None:
        """Apply what was reported, and publish it for the other stores; the reason if it contradicts what is
        known.

        Published before the commit: what was not committed then comes through the stream.
        """
        try:
            with self._database.write() as connection:
                verdicts = apply_bet_updates(connection, told)
                for verdict in verdicts:
                    if verdict.reason is not None:
                        raise _Contradiction(verdict.reason)
                self._publisher.publish(
                    [
                        (update.market_id, encode(update))
                        for update, verdict in zip(told, verdicts, strict=True)
                        if verdict.applied
                    ]
                )
        except _Contradiction as contradiction:
            log.error("bet %s: %s", told[-1].bet_id, contradiction)
            return str(contradiction)
        return None


def _lapsed(bet: Bet, now_us: int) -> BetUpdate:
    values = {name: getattr(bet, name) for name in Bet.__struct_fields__}
    return msgspec.structs.replace(
        BetUpdate(**values),
        version=bet.version + 1,
        status=BetStatus.LAPSED,
        remaining_minor=0,
        lapsed_minor=bet.lapsed_minor + bet.remaining_minor,
        reason=NEVER_TAKEN,
        updated_at=from_us(now_us),
    )


def _newest_stream_us(row: ConsumerRow) -> int:
    """When the newest stream that the consumer reads was created, as its shards' names say; 0 where none says
    so.
    """
    created = (shard.rpartition("@")[2] for shard in row.statistics.shards)
    return max((int(at_ms) * 1000 for at_ms in created if at_ms.isascii() and at_ms.isdigit()), default=0)
