"""Which tokens one process of the API knows, and whose each is: those in the database, looked at again every
`MAX_AGE_S`, and those of the setting.

Not here: reading a request's header (access/applications.py), what a grant allows (api_tokens.py).
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from exchange_platform.api.http.buckets import Buckets
from exchange_platform.domain.api_tokens import ALL_SCOPES, SETTINGS_NAME, Grant, can_be_token, digest_of
from exchange_platform.process.clock import Clock
from exchange_platform.stores.operational.accounts.api_tokens import ApiTokens, StoredToken

MAX_AGE_S = 2.0
"""How long what was read from the database is used. So a token that is revoked works for two seconds more,
and the request that it let in.
"""
LOOKS_PER_S, LOOKS_AT_ONCE = 5.0, 10.0
"""For a token that is not among them the database is asked at once, since it may have been made meanwhile: so
often, whatever callers show.
"""
_NOBODYS = b"\0" * 32


@dataclass(frozen=True, slots=True)
class Found:
    """Whose a token is. Without a grant it is refused, and `why` says it to operators only; the caller is
    answered the same whatever it is.
    """

    grant: Grant | None
    why: str = ""
    application: str | None = None
    token_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Snapshot:
    read_at_s: float
    by_digest: dict[bytes, StoredToken] = field(default_factory=dict)
    by_id: dict[str, StoredToken] = field(default_factory=dict)


class KnownTokens:
    """Thread-safe. `find` answers from memory; `refresh` asks the database where what is known is too old."""

    def __init__(self, store: ApiTokens, of_setting: Iterable[str], clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._of_setting = frozenset(map(digest_of, of_setting))
        self._settings_grant = Grant(
            application=SETTINGS_NAME, token_id=None, scopes=ALL_SCOPES, all_accounts=True
        )
        self._looks = Buckets(LOOKS_PER_S, LOOKS_AT_ONCE, clock=clock)
        self._lock = threading.Lock()
        self._snapshot: _Snapshot | None = None

    @property
    def are_none(self) -> bool:
        """Whether there is no token at all, so that nobody could call."""
        snapshot = self._snapshot
        return not self._of_setting and snapshot is not None and not snapshot.by_digest

    def is_older_than(self, seconds: float) -> bool:
        """Whether the database was last asked so long ago, or never."""
        snapshot = self._snapshot
        return snapshot is None or self._clock.monotonic_s() - snapshot.read_at_s >= seconds

    def may_look_again(self) -> bool:
        """Whether the database may be asked for a token that is not known."""
        return not self._looks.take("")

    def refresh(self, max_age_s: float = MAX_AGE_S) -> None:
        """Ask the database, unless somebody else just did. Raises `StoreUnavailable`, and then nothing is
        known any more once it is too old.
        """
        with self._lock:
            if not self.is_older_than(max_age_s):
                return
            began_s = self._clock.monotonic_s()
            stored = self._store.list()
            self._snapshot = _Snapshot(
                began_s,
                {token.sha256: token for token in stored},
                {token.token_id: token for token in stored},
            )

    def find(self, token: str) -> Found:
        """Whose the token is. The same work whether it is unknown, expired or revoked; a text that is too
        long is not looked at.

        What the database says of a token comes before the setting, so one that is narrowed or revoked there
        is that, although the setting still has it.
        """
        if not can_be_token(token):
            return Found(None, "malformed")
        snapshot = self._snapshot or _Snapshot(0.0)
        digest = digest_of(token)
        stored = snapshot.by_digest.get(digest)
        same = hmac.compare_digest(stored.sha256 if stored is not None else _NOBODYS, digest)
        in_setting = sum(hmac.compare_digest(one, digest) for one in self._of_setting)  # looks at all of them
        if stored is not None and same:
            return self._of(stored)
        return Found(self._settings_grant) if in_setting else Found(None, "unknown")

    def still(self, grant: Grant) -> bool:
        """Whether the token that gave this grant is good yet."""
        if grant.token_id is None:
            return True
        stored = (self._snapshot or _Snapshot(0.0)).by_id.get(grant.token_id)
        return stored is not None and self._of(stored).grant is not None

    def _of(self, stored: StoredToken) -> Found:
        state = stored.state(self._clock.now_us())
        grant = stored.grant() if state == "live" else None
        return Found(grant, "" if grant else state, stored.application, stored.token_id)
