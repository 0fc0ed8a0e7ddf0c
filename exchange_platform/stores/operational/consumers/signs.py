"""What a consumer or a delivery run says of itself at each heartbeat. Not here: the table (consumers.py),
what is made of it (operations/).

Fields are added, never renamed: a run of another release reads what this one wrote.
"""

from __future__ import annotations

import msgspec

from exchange_platform.process.decoders import json_decoder


class ShardSigns(msgspec.Struct, frozen=True):
    """One shard. `position` is up to where the first sink holds it; `lag_ms` is null where nothing was read
    yet.
    """

    position: str | None = None
    lag_ms: float | None = None
    records: int = 0
    at_tip: bool = False


class SinkSigns(msgspec.Struct, frozen=True):
    """One sink's work since its run began. Lags run from a record's arrival in the stream to its commit.

    `behind_ms` is the age of the oldest record that was read and is not committed, `last_error` what is wrong
    with the sink now.
    """

    records: int = 0
    repeats: int = 0
    batches: int = 0
    retries: int = 0
    commit_ms: float = 0.0
    lag_p50_ms: float = 0.0
    lag_p99_ms: float = 0.0
    behind_ms: float = 0.0
    last_error: str = ""
    degraded_since_us: int | None = None


class WindowSigns(msgspec.Struct, frozen=True):
    """Windows that wait to be closed, and rows of odds_windows."""

    open: int = 0
    closed: int = 0


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """The figures beside the ones that have a column of their own. A consumer fills the first four, a
    delivery run `channels`.
    """

    shards: dict[str, ShardSigns] = {}
    sinks: dict[str, SinkSigns] = {}
    windows: WindowSigns = WindowSigns()
    watermark_us: int | None = None
    channels: dict[str, dict[str, int | float | None]] = {}
    trouble: list[str] = []
    """What is wrong now, in words."""


class VitalSigns(msgspec.Struct, frozen=True, kw_only=True):
    """One heartbeat. Instants are microseconds since the epoch; `rate` is records a second."""

    heartbeat_at_us: int
    ends_at_us: int
    at_tip: bool
    caught_up_at_us: int | None
    """An instant as of which all that had arrived was committed."""
    records: int
    rate: float
    lag_ms: float
    statistics: Statistics


_statistics = json_decoder(Statistics)


def statistics_from(text: str | None) -> Statistics:
    """What was stored; nothing where a run of another release wrote what this one can't read."""
    try:
        return _statistics.decode(text or "{}")
    except msgspec.MsgspecError:
        return Statistics()


def statistics_text(statistics: Statistics) -> str:
    """As it is stored."""
    return msgspec.json.encode(statistics).decode()
