"""What one process of the API adds to the log of security events by itself: who was let in, and who was
refused, how often. Not here: what is logged with the change that it says (accounts/security_events.py).

Refusals are counted, so that nobody can fill the disk: each kind, application and client is one row at once,
and one more with the count when `PERIOD_S` is over. At most `MAX_KEYS` of these are distinguished in a period
for each token, and for all strangers together; what is over counts as from `others`. No request waits for the
log: a thread of its own writes it.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass

from exchange_platform.domain.api_tokens import Grant
from exchange_platform.process.clock import Clock
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.accounts.api_tokens import ApiTokens
from exchange_platform.stores.operational.accounts.security_events import (
    SecurityEvent,
    SecurityKind,
    write_events,
)
from exchange_platform.stores.operational.database import Database

log = logging.getLogger(__name__)

PERIOD_S = 600.0
MAX_KEYS = 50
OTHERS = "others"
_SEEN_FOR_S = 86_400.0
_MAX_SEEN = 2000
_MAX_WAITING = 1000
_USED_EVERY_S = 60.0
_WRITE_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class _Key:
    kind: SecurityKind
    application: str | None
    token_id: str | None
    client: str | None
    detail: str


class SecurityLog:
    """Thread-safe. What waits is in memory: a process that is killed takes the counts of its last period with
    it, and what came in its last second.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._waiting: list[SecurityEvent] = []
        self._counts: dict[_Key, int] = {}
        self._period_ends_s = 0.0
        self._seen: OrderedDict[tuple[str, str | None], float] = OrderedDict()
        self._used: dict[str, int] = {}
        self._used_written_s: dict[str, float] = {}
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def refused(
        self,
        kind: SecurityKind,
        detail: str,
        *,
        client: str | None,
        application: str | None = None,
        token_id: str | None = None,
    ) -> None:
        """Count a refusal. `detail` is the platform's own words, of few kinds."""
        key = _Key(kind, application, token_id, client, detail)
        with self._lock:
            self._turn()
            if key not in self._counts and self._count_of(key) >= MAX_KEYS:
                # Who was let in is still named: strangers must not hide what a stolen token does.
                key = _Key(
                    kind, application, token_id, OTHERS, "more kinds of refusals than are distinguished"
                )
            if key in self._counts:
                self._counts[key] += 1
                return
            self._counts[key] = 0
            self._add(key, 1)
        self._begin()

    def _count_of(self, key: _Key) -> int:
        """How many are distinguished of the same token; without one, of all strangers together."""
        return sum(
            1
            for one in self._counts
            if (one.application, one.token_id) == (key.application, key.token_id) and one.client != OTHERS
        )

    def let_in(self, grant: Grant, client: str) -> None:
        """Note that a token was used: when, to the minute, and the first time in a day from a network
        address.
        """
        now_s = self._clock.monotonic_s()
        token_id = grant.token_id
        seen = (client, token_id)
        if (
            now_s - self._seen.get(seen, -_SEEN_FOR_S) < _SEEN_FOR_S
            and now_s - self._used_written_s.get(token_id or "", now_s) < _USED_EVERY_S
        ):
            return  # without the lock: nearly every call ends here
        with self._lock:
            if now_s - self._seen.get(seen, -_SEEN_FOR_S) >= _SEEN_FOR_S:
                self._seen[seen] = now_s
                self._seen.move_to_end(seen)
                if len(self._seen) > _MAX_SEEN:
                    self._seen.popitem(last=False)
                self._add(_Key(SecurityKind.AUTHENTICATED, grant.application, token_id, client, ""), 1)
            if token_id is not None and (
                now_s - self._used_written_s.get(token_id, -_USED_EVERY_S) >= _USED_EVERY_S
            ):
                self._used_written_s[token_id] = now_s
                self._used[token_id] = self._clock.now_us()
        self._begin()

    def flush(self) -> None:
        """Write what waits. Where the database is away it waits on, as much as may wait."""
        with self._writing:
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            self._turn()
            events, self._waiting = self._waiting, []
            used, self._used = self._used, {}
        try:
            if events:
                with self._database.write() as connection:
                    write_events(connection, events)
            events = []
            if used:
                ApiTokens(self._database).note_used(used)
        except StoreUnavailable as error:
            log.warning("security events wait: %s", error)
            with self._lock:
                self._waiting = [*events, *self._waiting][:_MAX_WAITING]
                self._used = {**used, **self._used}

    def close(self) -> None:
        """Write all that is known, and end."""
        self._ending.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(10)
        with self._lock:
            self._end_period()
        if self._waiting or self._used:
            self.flush()

    def _turn(self) -> None:
        if self._counts and self._clock.monotonic_s() >= self._period_ends_s:
            self._end_period()
        if not self._counts:
            self._period_ends_s = self._clock.monotonic_s() + PERIOD_S

    def _end_period(self) -> None:
        for key, count in self._counts.items():
            if count:
                self._add(key, count)
        self._counts = {}

    def _add(self, key: _Key, occurrences: int) -> None:
        if len(self._waiting) < _MAX_WAITING:
            self._waiting.append(
                SecurityEvent(
                    at_us=self._clock.now_us(),
                    kind=key.kind,
                    application=key.application,
                    token_id=key.token_id,
                    client=key.client,
                    detail=key.detail,
                    occurrences=occurrences,
                )
            )

    def _begin(self) -> None:
        """Have what waits written soon."""
        self._wake.set()
        if self._thread is None:
            with self._lock:
                if self._thread is None and not self._ending.is_set():
                    self._thread = threading.Thread(target=self._run, name="security log", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        while not self._ending.wait(_WRITE_EVERY_S):
            self._wake.wait(PERIOD_S)
            self._wake.clear()
            if self._ending.is_set():
                return
            try:
                self.flush()
            except Exception:
                log.exception("the log of security events")
