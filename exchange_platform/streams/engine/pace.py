"""When each shard is read again and when the shards are listed again. Pure: the time comes in. Reading itself
is reader.py's.
"""

from __future__ import annotations

from collections.abc import Iterable

from exchange_platform.process.back_off import BackOff

LIST_INTERVAL_S = 10.0
"""How often the shards are listed without a sign that they changed: a run finds the children of another run's
shards so.

A listing costs a DescribeStreamSummary, of which an account has 20 a second for everybody.
"""
_OUT_OF_TURN = BackOff(first_s=0.25, max_s=LIST_INTERVAL_S)
"""Between listings that something asked for, in a row: the first one is made at once."""
_SILENT_S = 2.0
"""A shard that was read so lately is as far behind as that read said."""
_CHANGED = BackOff(first_s=0.05, max_s=LIST_INTERVAL_S)
"""Before a shard is read again that said in a row that it is not what was listed."""


class ListingPace:
    """Lists at once at a sign that the shards changed, less and less often while such signs go on, and now
    and then without one.
    """

    def __init__(self) -> None:
        self.due_s = float("-inf")
        self._not_before_s = float("-inf")
        self._listed_s = float("-inf")
        self._in_a_row = 0
        self._early = False
        self.is_asked_for = False
        """Whether there may be shards that nobody has listed yet."""

    def ask(self, now_s: float) -> None:
        """Something says that the shards changed."""
        at_s = max(now_s, self._not_before_s, self._listed_s + _OUT_OF_TURN.pause_s(self._in_a_row))
        self.is_asked_for = True
        if at_s < self.due_s:
            self.due_s, self._early = at_s, True

    def ask_after_a_pause(self, now_s: float) -> None:
        """Nothing was read for so long that it is not known which stream this is: the next listing comes
        before the next read.
        """
        self.due_s = min(self.due_s, max(now_s, self._not_before_s))

    def listed(self, now_s: float) -> None:
        """They were listed."""
        self._in_a_row = self._in_a_row + 1 if self._early else 0
        self._listed_s, self.due_s = now_s, now_s + LIST_INTERVAL_S
        self._early = self.is_asked_for = False

    def failed(self, now_s: float, retry_after_s: float) -> None:
        """They could not be listed."""
        self.due_s = self._not_before_s = now_s + retry_after_s


class ShardPaces:
    """Each shard at a pace of its own: one that is throttled waits longer, and no other waits for it.

    `behind_ms` is how far each shard's reading is behind its tip. While a shard can't be read it grows with
    the time: what arrived since is not known.
    """

    def __init__(self, poll_interval_s: float) -> None:
        self.behind_ms: dict[str, float] = {}
        self.errors: dict[str, str] = {}
        """Why a shard can't be read now."""
        self.poll_interval_s = poll_interval_s
        self._due_s: dict[str, float] = {}
        self._changes: dict[str, int] = {}
        self._seen: dict[str, tuple[float, float]] = {}
        """When it was last known how far behind a shard is, and how far that was."""
        self._began_at_us: dict[str, int] = {}

    def due_s(self, shard: str) -> float:
        """When the shard may be read."""
        return self._due_s.get(shard, float("-inf"))

    def begins(self, shard: str, now_s: float) -> None:
        """A read of the shard begins."""
        self._due_s[shard] = now_s + self.poll_interval_s
        self._seen.setdefault(shard, (now_s, 0.0))

    def succeeded(self, shard: str, *, now_s: float, began_at_us: int, behind_ms: float) -> None:
        """A read of the shard that began then ended so far behind the tip."""
        self.errors.pop(shard, None)
        self._changes.pop(shard, None)
        self.behind_ms[shard] = behind_ms
        self._seen[shard] = (now_s, behind_ms)
        self._began_at_us[shard] = began_at_us

    def failed(self, shard: str, reason: str, *, now_s: float, retry_after_s: float) -> bool:
        """The shard can't be read before so many seconds have passed. Says whether that is news."""
        news = self.errors.get(shard) != reason
        self.errors[shard] = reason
        self._due_s[shard] = max(self.due_s(shard), now_s + retry_after_s)
        self.fall_behind([shard], now_s)
        return news

    def changed(self, shard: str, reason: str, now_s: float) -> None:
        """The shard is not what was listed. It is an error once it is so again after a listing."""
        count = self._changes[shard] = self._changes.get(shard, 0) + 1
        self._due_s[shard] = max(self.due_s(shard), now_s + _CHANGED.pause_s(count))
        if count > 1:
            self.errors[shard] = reason
            self.fall_behind([shard], now_s)

    def fall_behind(self, shards: Iterable[str], now_s: float) -> None:
        """These can't be read now."""
        for shard in shards:
            seen_s, behind_ms = self._seen.get(shard, (now_s, 0.0))
            self.behind_ms[shard] = max(1.0, behind_ms + (now_s - seen_s) * 1000)

    def take_turn(self, shard: str) -> None:
        """Somebody else read the shard: it is not due before so much later."""
        if shard in self._due_s:
            self._due_s[shard] += self.poll_interval_s

    def lag_ms(self, now_s: float) -> float:
        """How far the shard that is furthest behind may be: longer for as long as it was not read."""
        lags = [0.0]
        for shard, behind_ms in list(self.behind_ms.items()):
            seen_s, seen_ms = self._seen.get(shard, (now_s, behind_ms))
            silent_s = now_s - seen_s
            lags.append(behind_ms if silent_s < _SILENT_S else max(behind_ms, seen_ms + silent_s * 1000))
        return max(lags)

    def ended(self, shard: str) -> None:
        """There is nothing left to read in the shard."""
        for figures in (
            self.behind_ms,
            self.errors,
            self._due_s,
            self._changes,
            self._seen,
            self._began_at_us,
        ):
            figures.pop(shard, None)

    def keep(self, shards: Iterable[str]) -> None:
        """Forget all but these."""
        for gone in (self._due_s.keys() | self.behind_ms.keys() | self.errors.keys()) - set(shards):
            self.ended(gone)

    def all_read_since_us(self, shards: Iterable[str]) -> int | None:
        """When the oldest of the shards' newest good reads began; None while one was never read, or where
        there is no shard.
        """
        began = [self._began_at_us.get(shard) for shard in shards]
        known = [at_us for at_us in began if at_us is not None]
        return min(known) if known and len(known) == len(began) else None
