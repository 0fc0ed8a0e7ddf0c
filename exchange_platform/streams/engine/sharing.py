"""How several consumer runs share the shards of one stream out among themselves. Pure. Not here: reading,
claiming, fencing.

A shard holds the records whose partition keys hash into its range. The space of hashes is cut into as many
equal shares as there are runs, and a shard belongs to the share in which the middle of its range lies. So
every run knows by itself, from the list of shards alone, which are its own: no two take the same one and none
is left; equal shards are dealt out evenly; when a shard is split its children stay with their parent's run as
long as its share reaches, and when two are merged exactly one run takes the child up.
"""

from __future__ import annotations

from dataclasses import dataclass

from exchange_platform.settings import Settings
from exchange_platform.streams.engine.source import HASHES, Shard

_SETTING_OF = {"exchange-bets": "bets_consumers"}


@dataclass(frozen=True, slots=True)
class Share:
    """The share of number `index`, from 0, of so many equal ones."""

    index: int = 0
    of: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.of:
            raise ValueError(f"there is no share {self.index + 1} of {self.of}: allowed are 1 to {self.of}")

    def has(self, shard: Shard) -> bool:
        """Whether the shard is this share's. A shard without a range of hashes is the first's."""
        if shard.hashes is None:
            return self.index == 0
        first, last = shard.hashes
        return (first + last + 1) * self.of // (2 * HASHES) == self.index

    def consumer_of(self, source: str) -> str:
        """The name under which this share's consumers of the source are entered: the source's own, where they
        share nothing.
        """
        return source if self.of == 1 else f"{source}/{self.index + 1}-of-{self.of}"


WHOLE = Share()
"""All shards: nothing is shared."""


def shares(settings: Settings, source: str) -> list[Share]:
    """The shares that the settings cut the source into."""
    setting = _SETTING_OF.get(source)
    count = int(getattr(settings, setting)) if setting is not None else 1
    return [Share(index, count) for index in range(count)]


def consumer_names(settings: Settings, source: str) -> list[str]:
    """The names of the source's consumers, one a share."""
    return [share.consumer_of(source) for share in shares(settings, source)]


def source_of(consumer: str) -> str:
    """The source that a consumer of this name consumes."""
    return consumer.partition("/")[0]
