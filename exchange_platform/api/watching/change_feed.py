"""The newest changes of bets, read once for everybody who listens to an account of theirs. Not here: the
stream that sends them (routes/changes.py).

One thread's worth of reading serves every listener: the outbox is a log in the order of commits, and its
newest rows are handed to whoever listens to their account.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress

from exchange_platform.api.http.problems import Problem
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.bets.outbox import ChangeRow, Outbox

MAX_LISTENERS = 1000
MAX_LISTENERS_OF_ONE = 800
"""Of one application: another's users still find a place."""
_LOOK_S = 0.2
_MAX_ROWS = 2000
_MAX_MISSED = 20_000
"""How far back a listener that comes again may ask; whoever was away for longer reads the bets again."""
_MAX_WAITING = 1000


class ChangeFeed:
    """Reads the outbox's newest changes while anybody listens, and hands each to the listeners of its
    account. One event loop.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._listeners: defaultdict[str, set[asyncio.Queue[ChangeRow | None]]] = defaultdict(set)
        self._holders: dict[asyncio.Queue[ChangeRow | None], str] = {}
        self._read_to = 0
        self._reading: asyncio.Task[None] | None = None

    async def listen(
        self, account_id: str, after: int | None, application: str
    ) -> tuple[list[ChangeRow], asyncio.Queue[ChangeRow | None]]:
        """Begin to listen: the account's changes since `after` that were missed, and a queue of those to come
        (None: too slow, ended).
        """
        of_it = sum(1 for holder in self._holders.values() if holder == application)
        if len(self._holders) >= MAX_LISTENERS or of_it >= MAX_LISTENERS_OF_ONE:
            raise Problem(
                503,
                "too_many_listeners",
                f"{len(self._holders)} listen already, {of_it} of them for this application; {MAX_LISTENERS} and"
                f" {MAX_LISTENERS_OF_ONE} are allowed. Try again later, or read the bets",
                headers={"Retry-After": "5"},
            )
        queue: asyncio.Queue[ChangeRow | None] = asyncio.Queue(_MAX_WAITING)
        self._holders[queue] = application
        self._listeners[account_id].add(queue)
        try:
            if self._reading is None or self._reading.done():
                self._read_to = await asyncio.to_thread(self._outbox.newest)
                self._reading = asyncio.create_task(self._read())
            missed = await self._missed(account_id, after) if after is not None else []
        except BaseException:
            self.leave(account_id, queue)
            raise
        return missed, queue

    def leave(self, account_id: str, queue: asyncio.Queue[ChangeRow | None]) -> None:
        """Listen no more."""
        if queue in self._listeners[account_id]:
            self._listeners[account_id].discard(queue)
            del self._holders[queue]
        if not self._listeners[account_id]:
            del self._listeners[account_id]

    async def _missed(self, account_id: str, after: int) -> list[ChangeRow]:
        read_to = self._read_to
        if read_to - after > _MAX_MISSED:
            raise Problem(
                410,
                "too_long_away",
                "the changes since that id are too many to be sent; read the bets, and listen without Last-Event-ID",
            )
        missed: list[ChangeRow] = []
        while after < read_to:
            rows = await asyncio.to_thread(self._outbox.after, after, _MAX_ROWS)
            if not rows:
                break
            missed += [row for row in rows if row.user_id == account_id and row.sequence <= read_to]
            after = rows[-1].sequence
        return missed

    async def _read(self) -> None:
        while self._holders:
            with suppress(StoreUnavailable):
                rows = await asyncio.to_thread(self._outbox.after, self._read_to, _MAX_ROWS)
                for row in rows:
                    self._read_to = row.sequence
                    for queue in tuple(self._listeners.get(row.user_id, ())):
                        self._hand(queue, row)
                if len(rows) == _MAX_ROWS:
                    continue
            await asyncio.sleep(_LOOK_S)
        self._reading = None

    def _hand(self, queue: asyncio.Queue[ChangeRow | None], row: ChangeRow) -> None:
        try:
            queue.put_nowait(row)
        except asyncio.QueueFull:  # it does not read: it comes again with its last id
            while not queue.empty():
                queue.get_nowait()
            queue.put_nowait(None)
