"""Keeping the feed's journal small while the gateway runs. Not here: what may go (feed_journal.py)."""

from __future__ import annotations

import logging
import sqlite3
import threading

from exchange_platform.exchanges.feed_journal import FeedJournal
from exchange_platform.exchanges.platform_requests import PlatformRequests

log = logging.getLogger(__name__)

COMPACT_EVERY_S = 600.0


class Compacting:
    """Compacts the journal at once and every ten minutes, in a thread of its own, until it is stopped."""

    def __init__(self, journal: FeedJournal, requests: PlatformRequests) -> None:
        self._journal = journal
        self._requests = requests
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="compacting", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more, and wait for what is under way."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                dropped = self._journal.compact(committed=self._committed())
            except sqlite3.Error as error:  # another try comes
                log.warning("the feed's journal was not compacted: %s", error)
            else:
                if dropped:
                    log.info("%d replaced updates dropped from the feed's journal", dropped)
            if self._stopping.wait(COMPACT_EVERY_S):
                return

    def _committed(self) -> int:
        """The cursor up to which the platform has committed this feed; 0 while it has not said so."""
        position = self._requests.acknowledged().get(f"feed@{self._journal.feed_id}", "0")
        cursor = position.rpartition(":")[
            2
        ]  # a feed that went back has the number of times before its cursor
        return int(cursor) if cursor.isdigit() else 0
