"""Makes moto's SNS and SES fit for messages that flow for hours. Not here: the emulator's process
(server.py).

moto (5.2) keeps every message that was ever published or mailed, for tests to look at: at 1,000 changes a
second some gigabytes an hour. And it looks through all of a query's parameters for each structure in it, so a
batch of ten messages costs more than ten calls.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import moto.core.parse
import moto.ses.models
import moto.sns.models

sns: Any = moto.sns.models  # its classes are replaced, which no type allows
ses: Any = moto.ses.models
_query: Any = moto.core.parse.QueryParser

KEPT = 1000
"""The newest messages that are kept, a topic and a region's SES each."""


class _Topic(sns.Topic):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sent_notifications: deque[Any] = deque(maxlen=KEPT)


class _Parameters(dict[str, Any]):
    """A query's parameters, and every dotted beginning that one of them has."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters.items())
        self.beginnings: set[str] = set()
        for name in self:
            parts = name.split(".")
            self.beginnings.update(".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _parse_query(parser: Any, request: Any, shape: Any) -> Any:
    parsed = parser._parse_shape(shape, _Parameters(request["values"]))
    return parsed if parsed is not moto.core.parse.UNDEFINED else {}


def _is_empty(_parser: Any, parameters: _Parameters, prefix: str) -> bool:
    return prefix != "" and prefix not in parameters.beginnings


def install() -> None:
    """Put these in moto's place, once, before its server starts."""
    if sns.Topic is _Topic:
        return
    sns.Topic = _Topic
    _query._do_parse = _parse_query
    _query._gonna_recurse = _is_empty
    begin = ses.SESBackend.__init__

    def begun(backend: Any, *args: Any, **kwargs: Any) -> None:
        begin(backend, *args, **kwargs)
        backend.sent_messages = deque(maxlen=KEPT)

    ses.SESBackend.__init__ = begun
