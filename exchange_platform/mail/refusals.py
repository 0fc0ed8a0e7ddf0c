"""Whether what a server refuses is the messages' fault. Not here: what a sender calls a refusal
(sender.py).
"""

from __future__ import annotations

import threading
from collections import Counter

from exchange_platform.stores.failures import same_reason

REFUSED_IN_A_ROW = 20
"""So many messages in a row that are refused for one reason are not to blame: a setting of ours is wrong, the
server, or a release of ours.
"""


class RefusedInARow:
    """Counts refusals since the server last took a message. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reasons: Counter[str] = Counter()

    def taken(self) -> None:
        """The server took a message."""
        with self._lock:
            self._reasons.clear()

    def blames_none(self, reason: str, messages: int = 1) -> str | None:
        """Count refusals; what is wrong, in words, where they are too many for the messages to be to
        blame.
        """
        with self._lock:
            self._reasons[same_reason(reason)] += messages
            count = self._reasons[same_reason(reason)]
        if count < REFUSED_IN_A_ROW:
            return None
        return f"{count} messages in a row were refused for one reason, so it is not theirs: {reason}"
