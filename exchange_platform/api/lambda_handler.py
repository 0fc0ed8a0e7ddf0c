"""The API as an AWS Lambda function behind API Gateway (payload format 2.0): `handler`. Not here: the
application (app.py), or its zip.

`handler` is made when it is first asked for, which Lambda does before the first event, while the function has
more of a processor.
"""

from __future__ import annotations

import functools
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exchange_platform.settings import load_settings
from exchange_platform.stores.lake.packed_duckdb import import_late

if TYPE_CHECKING:
    from exchange_platform.api.services import Services

log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

LONGEST_ANSWER_S = 5.0
"""API Gateway hands an answer on when it is complete, so one that would go on for ever ends: the client comes
again.
"""


class Function:
    """Answers one event after the other, as Lambda asks. After one at which a store refused the password,
    secrets are read again.
    """

    def __init__(self) -> None:
        """Read the settings, and secrets where they lie. Raises `InvalidSettings`."""
        self._parts, self._answer = _made()

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """The answer to an event of API Gateway's."""
        answered = self._answer(event, context)
        if self._parts.refused:
            log.warning("a store refuses the password that this process was started with: it is read again")
            self.close()
            self._parts, self._answer = _made()
        return answered

    def close(self) -> None:
        """Close what was opened. Lambda itself never asks for it."""
        self._parts.close()


@functools.cache
def make_handler() -> Handler:
    """The handler of this process. Raises `InvalidSettings`."""
    return Function()


def _made() -> tuple[Services, Handler]:
    # Nothing but /tmp can be written in a function; a stream's clients would each hold one for as long as
    # they stay.
    data_dir = None if "EXCHANGE_PLATFORM_DATA_DIR" in os.environ else Path(tempfile.gettempdir())
    settings = load_settings(data_dir, live_clients=0, longest_answer_s=LONGEST_ANSWER_S)
    import_late()
    from mangum import Mangum
    from mangum.adapter import DEFAULT_TEXT_MIME_TYPES

    from exchange_platform.api.app import create_app

    app = create_app(settings)
    services: Services = app.state.services
    services.prepare()
    # Lambda ends a process without a word, so nothing is closed; and between events nothing runs, so nothing
    # is started.
    text = [*DEFAULT_TEXT_MIME_TYPES, "application/problem+json"]
    return services, Mangum(app, lifespan="off", text_mime_types=text)


def __getattr__(name: str) -> Handler:
    if name == "handler":
        return make_handler()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
