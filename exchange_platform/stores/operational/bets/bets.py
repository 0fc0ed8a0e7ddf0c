"""What a batch of bet updates changes: bets, positions, ledger, profiles and outbox, in the caller's
transaction.

Not here: the checkpoint and the dead letters of the same transaction (streams/exchange_bets.py puts them
together), the rules of a bet's life (exchange_platform/domain/bets.py), and whether a new bet is accepted
(submission/service.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from exchange_platform.domain.bets import (
    FLAT,
    IDENTITY,
    Bet,
    BetResult,
    BetStatus,
    IllegalTransition,
    Position,
    check_transition,
)
from exchange_platform.domain.changes import change_of
from exchange_platform.stores.operational.bets import lost_bets, outbox
from exchange_platform.stores.operational.bets.ledger import CLEARING, COMMISSION, Books, Reference
from exchange_platform.stores.operational.bets.positions import MarketPositions, SelectionKey
from exchange_platform.stores.operational.bets.profile_sums import ProfileSums
from exchange_platform.stores.operational.bets.replacements import Replacements
from exchange_platform.stores.operational.bets.rows import bet_from_row, bet_row, decimal_text
from exchange_platform.stores.operational.database import bets, to_us
from exchange_platform.stores.operational.tables.wallets import pending_bets
from exchange_platform.stores.operational.upsert import ByKey, Lookup, insert, upsert
from exchange_platform.stores.operational.verdicts import APPLIED, REPEATED, Verdict

_COUNTED_OPEN = frozenset({BetStatus.PENDING, BetStatus.OPEN, BetStatus.MATCHED, BetStatus.UNSETTLED})
_encoder = msgspec.json.Encoder()


# What is fixed for a bet's life stays as it is, and with it the indexes.
_FIXED = {"bet_id", "placed_at_us", *IDENTITY}
_upsert_bets = upsert(bets, replace=[column.name for column in bets.columns if column.name not in _FIXED])
_insert_pending = insert(pending_bets)
_delete_pending = ByKey(pending_bets)


def apply_bet_updates(connection: sa.Connection, updates: Sequence[Bet]) -> list[Verdict]:
    """Apply bet updates in order; one verdict each.

    A version not newer than what is known changes nothing. One that contradicts what is known (an illegal
    transition, a changed stake, another currency than the profile's) is dead, with a reason, and changes
    nothing. For each applied one the same transaction holds: the bet, its owner's position and exposure in
    the market, the ledger entries whose sums are the profile's balance and exposure, the profile, and an
    outbox row if the owner is to be notified. What is written depends on the updates' order per bet and
    market alone, not on how they were batched.
    """
    if not updates:
        return []
    currencies: dict[str, str] = {}
    for update in updates:
        currencies.setdefault(update.user_id, update.currency)
    fold = BetFold(
        connection,
        currencies=currencies,
        markets=sorted({update.market_id for update in updates}),
        bet_ids=sorted({update.bet_id for update in updates}),
        may_be_lost=True,
    )
    verdicts = [fold.apply(update) for update in updates]
    fold.write(connection)
    return verdicts


class BetFold:
    """Bet updates folded into what is stored: made in a transaction, given updates, written in the same
    transaction.

    Making one takes the users' profiles, so that another writer's changes of theirs come before or after,
    never between.
    """

    def __init__(
        self,
        connection: sa.Connection,
        *,
        currencies: Mapping[str, str],
        markets: Sequence[str],
        bet_ids: Sequence[str],
        may_be_lost: bool = False,
    ) -> None:
        """`currencies` are the users', for those who have no profile; `markets` and `bet_ids` are all that
        the updates will have.

        `may_be_lost`: a bet without a row may have had one; then its row comes back and its effects are not
        counted twice.
        """
        users = sorted(currencies)
        self._profiles = ProfileSums(connection, currencies)
        self._market_positions = MarketPositions(connection, users, markets)
        self._replacements = Replacements(connection, users)
        known = sorted({*bet_ids, *self._replacements.bet_ids}) if self._replacements else bet_ids
        self._bets = {bet.bet_id: bet for bet in _known_bets(connection, known)}
        unknown = sorted(set(bet_ids) - self._bets.keys()) if may_be_lost else ()
        self._traces = lost_bets.traces(connection, unknown)
        self._books = Books()
        self._changed_bets: dict[str, Bet] = {}
        self._bets_before: dict[str, Bet | None] = {}
        self._outbox: list[dict[str, Any]] = []
        self._now_pending: dict[str, Bet] = {}
        self._answered: set[str] = set()
        self._application: str | None = None

    def bet(self, bet_id: str) -> Bet | None:
        """A bet as it is by now."""
        return self._bets.get(bet_id)

    def is_being_replaced(self, bet_id: str) -> bool:
        """Whether a replacement of the bet, or by it, waits for the exchange's answer."""
        return self._replacements.of(bet_id) is not None

    def available_minor(self, user_id: str) -> int:
        """The user's balance less exposure, by now."""
        return self._profiles.held[user_id].available_minor

    def currency(self, user_id: str) -> str | None:
        """The currency of the user's profile; None where there is none yet."""
        return self._profiles.held[user_id].currency

    def added_exposure_minor(self, bet: Bet, replaces: Bet | None = None) -> int:
        """By how much the owner's exposure would change with this new bet, in place of another's rest if one
        is given.
        """
        change = bet.position()
        if replaces is not None:
            change += Replacements.credit_at_first(replaces, bet)
        standing = self._market_positions.of(bet.user_id, bet.market_id, bet.currency)
        return (
            standing.exposure_after(_selection(bet), change, bet.number_of_winners, bet.number_of_selections)
            - standing.exposure_minor
        )

    def place(self, bet: Bet, replaces: Bet | None = None, *, application: str | None = None) -> None:
        """Apply a new bet of the platform's own, which the application asked for. Nothing is asked: the
        caller has seen that it may be.
        """
        if replaces is not None:
            self._replacements.begin(replaces, bet)
        self._application = application
        verdict = self.apply(bet)
        self._application = None
        assert verdict.applied, f"a new bet was not applied: {verdict.reason}"

    def apply(self, after: Bet) -> Verdict:
        """Apply one update. See `apply_bet_updates`."""
        before = self._bets.get(after.bet_id)
        if before is None and after.bet_id in self._traces:
            before = self._restored(after, self._traces[after.bet_id])
            if before is None:
                return self._untraceable(after)
            if after.version == before.version:
                return APPLIED
        if before is not None:
            if after.version <= before.version:
                return REPEATED
            try:
                check_transition(before, after)
            except IllegalTransition as error:
                return Verdict(False, f"illegal transition: {error}")
        currency = self._profiles.currency(after.user_id, after.currency)
        if currency != after.currency:
            return Verdict(
                False, f"currency {after.currency} of bet {after.bet_id}; user {after.user_id} has {currency}"
            )
        change = change_of(before, after)
        self._bets_before.setdefault(after.bet_id, before)
        self._bets[after.bet_id] = self._changed_bets[after.bet_id] = after
        updated_at_us = to_us(after.updated_at)
        exposure_change = self._move_position(before, after)
        balance_change = self._post(
            before, after, change._value_ if change is not None else "updated", exposure_change, updated_at_us
        )
        self._sum_profile(after, exposure_change, balance_change, updated_at_us)
        self._note_pending(before, after)
        if change is not None:
            self._outbox.append(
                {
                    "bet_id": after.bet_id,
                    "bet_version": after.version,
                    "user_id": after.user_id,
                    "change": change._value_,
                    "status_before": before.status._value_ if before is not None else None,
                    "status_after": after.status._value_,
                    "bet": _encoder.encode(after).decode(),
                    "changed_at_us": updated_at_us,
                }
            )
        return APPLIED

    def write(self, connection: sa.Connection) -> None:
        """Write all that the updates changed."""
        if self._changed_bets:
            self._count_bets()
            _upsert_bets.execute_in_order(connection, [bet_row(bet) for bet in self._changed_bets.values()])
            self._market_positions.write(connection)
            self._replacements.write(connection)
            _insert_pending.execute(connection, [_pending_row(bet) for bet in self._now_pending.values()])
            _delete_pending.execute(connection, [{"bet_id": bet_id} for bet_id in sorted(self._answered)])
        self._profiles.write(connection)
        self._books.write(connection)
        outbox.append(connection, self._outbox)

    def _restored(self, after: Bet, trace: lost_bets.Trace) -> Bet | None:
        """The lost bet as it was when its last effects were counted, to be written again; None where that is
        not known.
        """
        state = trace.state if trace.state is not None else after
        if state.version != trace.version:
            return None
        self._bets[after.bet_id] = self._changed_bets[after.bet_id] = self._bets_before[after.bet_id] = state
        return state

    def _untraceable(self, after: Bet) -> Verdict:
        version = self._traces[after.bet_id].version
        if after.version < version:
            return REPEATED
        return Verdict(
            False,
            f"bet {after.bet_id} was lost from bets: its effects up to version {version} are in the ledger, and version"
            f" {after.version} can't be applied before version {version} has brought it back",
        )

    def _move_position(self, before: Bet | None, after: Bet) -> int:
        """Move the owner's position in the market; returns the change of exposure."""
        change = after.position() if before is None else after.position() - before.position()
        if self._replacements:
            change += self._credit(after)
        return self._market_positions.of(after.user_id, after.market_id, after.currency).move(
            _selection(after), change, after.number_of_winners, after.number_of_selections
        )

    def _credit(self, after: Bet) -> Position:
        """The change of what the owner's position holds for a replacement that the bet is part of."""
        replacement = self._replacements.of(after.bet_id)
        if replacement is None:
            return FLAT
        old, new = self._bets[replacement.bet_id], self._bets[replacement.new_bet_id]
        return self._replacements.credit(replacement, old, new)

    def _post(
        self, before: Bet | None, after: Bet, cause: str, exposure_change: int, entered_at_us: int
    ) -> int:
        """Enter what the update changes into the books; returns the change of balance."""
        profit = after.profit_minor - (before.profit_minor if before is not None else 0)
        commission = after.commission_minor - (before.commission_minor if before is not None else 0)
        if profit or commission or exposure_change:
            reference = Reference(
                after.bet_id,
                after.version,
                after.user_id,
                after.market_id,
                after.currency,
                entered_at_us,
                self._application,
            )
            if profit:
                self._books.post_balance(profit, cause, CLEARING, reference)
            if commission:
                self._books.post_balance(-commission, "commission", COMMISSION, reference)
            if exposure_change:
                self._books.post_exposure(exposure_change, cause, reference)
        return profit - commission

    def _count_bets(self) -> None:
        """Add to the profiles by what each bet's last version counts for more than the one before this
        transaction.
        """
        for bet_id, after in self._changed_bets.items():
            before = self._bets_before[bet_id]
            was = _counts(before) if before is not None else _NOTHING
            now = _counts(after)
            if now != was:
                sums = self._profiles.added(after.user_id)
                for name, new, old in zip(_COUNTED, now, was, strict=True):
                    if new != old:
                        sums[name] += new - old

    def _sum_profile(self, after: Bet, exposure_change: int, balance_change: int, updated_at_us: int) -> None:
        sums = self._profiles.added(after.user_id)
        sums["version"] += 1
        if balance_change or exposure_change:
            self._profiles.add_money(after.user_id, balance_change, exposure_change)
        placed_at_us = to_us(after.placed_at)
        if placed_at_us > (sums["last_bet_at_us"] or 0):
            sums["last_bet_at_us"] = placed_at_us
        if updated_at_us > sums["updated_at_us"]:
            sums["updated_at_us"] = updated_at_us

    def _note_pending(self, before: Bet | None, after: Bet) -> None:
        if after.status is BetStatus.PENDING:
            if before is None:
                self._now_pending[after.bet_id] = after
        elif (
            before is not None
            and before.status is BetStatus.PENDING
            and self._now_pending.pop(after.bet_id, None) is None
        ):
            self._answered.add(after.bet_id)


def _selection(bet: Bet) -> SelectionKey:
    return bet.selection_id, decimal_text(bet.handicap)


def _pending_row(bet: Bet) -> dict[str, Any]:
    return {
        "bet_id": bet.bet_id,
        "user_id": bet.user_id,
        "market_id": bet.market_id,
        "since_us": to_us(bet.placed_at),
    }


_COUNTED = (
    "bets",
    "open_bets",
    "matched_bets",
    "settled_bets",
    "won_bets",
    "lost_bets",
    "staked_minor",
    "matched_minor",
    "profit_minor",
    "commission_minor",
)
_NOTHING = (0,) * len(_COUNTED)


def _counts(bet: Bet) -> tuple[int, ...]:
    """What one bet counts for in its owner's profile, in the order of `_COUNTED`."""
    placed = bet.status is not BetStatus.REJECTED
    return (
        placed,
        bet.status in _COUNTED_OPEN,
        bet.matched_minor > 0,
        bet.status is BetStatus.SETTLED,
        bet.result is BetResult.WON,
        bet.result is BetResult.LOST,
        bet.stake_minor if placed else 0,
        bet.matched_minor,
        bet.profit_minor,
        bet.commission_minor,
    )


_BETS = Lookup(sa.select(bets), bets.c.bet_id)


def _known_bets(connection: sa.Connection, bet_ids: Sequence[str]) -> Iterable[Bet]:
    return map(bet_from_row, _BETS.rows(connection, bet_ids))
