"""What all errors of one kind have in common, whoever raises them. docs/errors.md lists them by the reaction
that they ask for.
"""

from __future__ import annotations


class Unavailable(Exception):
    """A peer (a store, a stream, the exchange, a mail server, the API) can't be reached or is too busy now:
    the same call may work later.
    """
