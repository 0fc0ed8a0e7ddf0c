"""Who asks for something: an application by its token, or a process of the platform's own. Pure. Not here:
tokens (api_tokens.py).
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

MAX_NAME = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


class InvalidActor(ValueError):
    """No application can have this name. The message says what is allowed."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks. The name is written beside what was done: in the ledger, the orders, the transfers, the log
    of security events.
    """

    application: str
    token_id: str | None = None
    client: str | None = None
    """The network address that the call came from."""
    in_process: bool = False
    """Code that holds the database itself, not a token: it is shown any answer of an account's."""


def check_name(name: str) -> str:
    """The name, if an application may have it. Raises `InvalidActor`."""
    if not _NAME.fullmatch(name):
        raise InvalidActor(
            f"{name[:80]!r} is not an application's name: 1 to {MAX_NAME} letters, digits, '.', '_' and '-' are allowed, a letter or digit first"
        )
    return name


def own_process(name: str | None = None) -> Actor:
    """The process itself as who asks, by a name that is given or by its program's. Raises `InvalidActor` for
    a name that can't be.
    """
    return Actor(check_name(name) if name is not None else _program(sys.argv[0]), in_process=True)


def _program(started_as: str) -> str:
    path = Path(started_as or "python")
    name = path.parent.name if path.name == "exchange_platform/__main__.py" else path.name
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip("._-")[:MAX_NAME]
    return plain or "python"


THIS_PROCESS = own_process()
"""Whoever calls the library without saying who."""
