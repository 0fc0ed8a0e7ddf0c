"""Waiting for the feed's next update, for any number of requests at once. Not here: reading it
(feed_journal.py).
"""

from __future__ import annotations

import asyncio
import contextlib

from starlette.concurrency import run_in_threadpool

from exchange_platform.exchanges.feed_journal import LOOK_EVERY_S, FeedJournal


class FeedNews:
    """Looks into the journal while somebody waits, once for all of them, and not at all while nobody does."""

    def __init__(self, journal: FeedJournal) -> None:
        self._journal = journal
        self._waiting = 0
        self._came = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, newest: int, timeout_s: float) -> None:
        """Return when the feed's newest cursor is another than `newest`, or after so many seconds."""
        self._waiting += 1
        try:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look(newest))
            came = self._came
            if await run_in_threadpool(self._journal.newest) != newest:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await came.wait()
        finally:
            self._waiting -= 1

    async def _look(self, newest: int) -> None:
        while self._waiting:
            found = await run_in_threadpool(self._journal.newest)
            if found != newest:
                newest = found
                self._came.set()
                self._came = asyncio.Event()
            await asyncio.sleep(LOOK_EVERY_S)
