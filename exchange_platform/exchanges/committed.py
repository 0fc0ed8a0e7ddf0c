"""Whether the platform has committed what was published: only then may a publisher forget it."""

from __future__ import annotations

from collections.abc import Mapping

from exchange_platform.streams.engine.source import SHARD_END


def are_committed(positions: Mapping[str, str], committed: Mapping[str, str]) -> bool:
    """Whether every shard is committed up to the position given for it. A shard of which nothing is known is
    not.
    """
    return all(_is_at_least(committed.get(shard), position) for shard, position in positions.items())


def _is_at_least(position: str | None, other: str) -> bool:
    if position is None:
        return False
    if position == SHARD_END:
        return True
    return position.isdigit() and int(position) >= int(other)
