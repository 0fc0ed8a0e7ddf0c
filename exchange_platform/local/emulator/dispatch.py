"""Makes moto find the service of a request without looking through its own files. Not here: what the services
do (its neighbours).

For every request moto (5.2) lists its folders, some two hundred, one request at a time, and then the methods
of the class that answers: a third of the time of a short call.
"""

from __future__ import annotations

import functools
from typing import Any

import moto.backends
import moto.core.responses

backends: Any = moto.backends  # its functions are replaced, which no type allows
responses: Any = moto.core.responses


@functools.cache
def _services() -> frozenset[str]:
    return frozenset(_list_services())


_list_services = backends.list_of_moto_modules
_list_methods = responses.method_names_from_class


def install() -> None:
    """Put this in moto's place, once, before its server starts."""
    if backends.list_of_moto_modules is not _services:
        backends.list_of_moto_modules = _services
        responses.method_names_from_class = functools.cache(_list_methods)
