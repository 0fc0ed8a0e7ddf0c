"""A call that an AWS SDK sends again is answered as it was the first time. Not here: the calls (moto, and its
neighbours).
"""

from __future__ import annotations

import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

log = logging.getLogger(__name__)

KEPT = 2000
"""The newest answers that are kept."""
LONGEST = 100_000
"""In bytes. Longer answers only tell of something: to do it again does no harm."""
_ATTEMPT = re.compile(r"attempt=(\d+)")
_Answer = tuple[str, list[tuple[str, str]], bytes]


class Repeats:
    """Around an application: keeps its answers by the SDK's number of the call.

    Now and then (4 in some 2,500 calls on connections that are kept, fewer on others) Terraform's AWS
    provider (5.100) loses the connection while it reads an answer, and sends its call again. Answered then
    that what it deletes is not there, or what it makes is, it gives up. What failed for the server's own
    reasons is not kept: that is worth another try.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        call = environ.get("HTTP_AMZ_SDK_INVOCATION_ID")
        if call is None:
            return self._application(environ, start_response)
        attempt = _ATTEMPT.match(environ.get("HTTP_AMZ_SDK_REQUEST", ""))
        with self._lock:
            known = self._answers.get(call) if attempt is not None and int(attempt[1]) > 1 else None
        if known is not None:
            log.info("sent again, answered as before: %s", environ.get("HTTP_AMZ_SDK_REQUEST"))
        status, headers, content = known or self._asked(call, environ)
        start_response(status, headers)
        return [content]

    def _asked(self, call: str, environ: dict[str, Any]) -> _Answer:
        told: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]], *_: Any) -> Callable[[bytes], None]:
            told.append((status, headers))
            return lambda _content: None

        content = b"".join(self._application(environ, start))
        status, headers = told[-1]
        if not status.startswith("5") and len(content) <= LONGEST:
            with self._lock:
                self._answers[call] = (status, headers, content)
                while len(self._answers) > KEPT:
                    self._answers.popitem(last=False)
        return status, headers, content
