"""Publishing records again that the platform asks for, in a thread of its own. What it asks for comes through
platform_requests.py.
"""

from __future__ import annotations

import logging
import sqlite3
import threading

from exchange_platform.domain.records import decode
from exchange_platform.exchanges.platform_requests import PlatformRequests, Request
from exchange_platform.exchanges.simulated.journal import Journal, JournalBatch
from exchange_platform.exchanges.simulated.publishing import Publishing
from exchange_platform.exchanges.simulated.reports import records_of
from exchange_platform.exchanges.simulated.retention import Pairs
from exchange_platform.process.clock import Clock

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
_SERVED_AT_ONCE = 20


class Serving:
    """Serves some requests at a time, the oldest first; a request is done with once its records are in the
    stream.
    """

    def __init__(
        self, journal: Journal, requests: PlatformRequests, publishing: Publishing, clock: Clock
    ) -> None:
        self._journal = journal
        self._requests = requests
        self._publishing = publishing
        self._clock = clock
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="serving-requests", daemon=True)

    def start(self) -> None:
        """Begin to look for requests."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Serve no more. What is not done with is served after the next start."""
        self._ending.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._clock.wait(self._ending, LOOK_EVERY_S):
            try:
                while self.serve() and not self._ending.is_set():
                    pass
            except sqlite3.Error as error:  # another look comes
                log.warning("requests of the platform wait: %s", error)

    def serve(self) -> int:
        """Publish what the next requests ask for, and wait until it is in the stream; how many requests."""
        waiting = self._requests.waiting(_SERVED_AT_ONCE)
        if not waiting:
            return 0
        with self._journal.reader() as db:
            pairs = [pair for request in waiting for pair in _asked_for(db, request)]
        if pairs and not self._published(pairs):
            return 0
        self._requests.served([request.number for request in waiting])
        log.info("%d records published again, as %d requests asked", len(pairs), len(waiting))
        return len(waiting)

    def _published(self, pairs: Pairs) -> bool:
        done = threading.Event()
        self._publishing.offer(JournalBatch(0, pairs, done))
        while not done.is_set():
            if self._clock.wait(self._ending, 0.05):
                return False
        return True


def _asked_for(db: sqlite3.Connection, request: Request) -> Pairs:
    if request.market_id:
        return list(records_of(db, request.minute_us, request.market_id))
    row = db.execute("SELECT state FROM taken_bets WHERE bet_id = ?", (request.bet_id,)).fetchone()
    if row is None and request.bet_id.isdigit() and len(request.bet_id) < 19:
        row = db.execute("SELECT state FROM bets WHERE number = ?", (int(request.bet_id),)).fetchone()
    if row is None:
        log.warning("bet %s was asked for and is not held", request.bet_id)
        return []
    return [(decode(row[0]).market_id, bytes(row[0]))]
