"""The contract by which every store fences its writers. Not here: the stores' own tables (database.py,
lake/lake.py).

Each store keeps, beside its data, a row per (source, shard): the position up to which its data holds the
source's records, and the epoch of the consumer that may write it. A consumer first *claims* its shards, which
raises the row's epoch to its own; each commit then asserts, in the transaction that writes the data, that the
row still has that epoch and the position that the consumer last wrote. So of two consumers only the newer can
write, whatever the clocks say.
"""

from __future__ import annotations

from dataclasses import dataclass

from exchange_platform.process.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Advance:
    """A commit's step in one shard: from the position that must be stored to the one that will be.

    Positions are the source's own (a Kinesis sequence number); None is the beginning.
    """

    shard: str
    expected: str | None
    position: str | None


class Superseded(Exception):
    """A newer consumer owns the shard: stop. Nothing of the refused commit was written."""


class StoreUnavailable(Unavailable):
    """The store can't be reached or is too busy now: retry with back-off, read no more meanwhile. Nothing was
    written.
    """


class StoreDamaged(StoreUnavailable):
    """What the store keeps is damaged: a file is cut, changed or gone. The message names it and what restores
    it.

    Trying again helps once the damage was taken out or restored. It is never a record's fault.
    """


class TablesMissing(StoreUnavailable):
    """The store has no tables yet, or not those of this version: `exchange-platform migrate` makes them."""


class CredentialsRefused(StoreUnavailable):
    """The store refuses the user name or password that this process was started with: one that is restarted
    reads them again.

    Trying again may help where they were changed at the store first, and in Secrets Manager is what a new
    process is given.
    """


class Contended(StoreUnavailable):
    """The store chose this transaction to end a deadlock, or it waited too long for another: it is rolled
    back for certain, try again.
    """
