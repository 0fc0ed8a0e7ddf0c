"""What `lost-spans` prints. Keeping them is consumers/lost_spans.py's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exchange_platform.cli import output
from exchange_platform.cli.letters import opened
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.process.visible_text import visible
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.consumers.lost_spans import LostSpan, LostSpans
from exchange_platform.stores.operational.database import from_us
from exchange_platform.streams.setting_back import read_again

_MAX_SHOWN = 1000


class NoSuchSpan(Exception):
    """No lost span of these ids stands."""


def show_list(settings: Settings, *, standing_only: bool, as_json: bool) -> int:
    """Print the newest lost spans."""
    database = opened(settings)
    try:
        spans = LostSpans(database).list(standing_only=standing_only, limit=_MAX_SHOWN)
        standing = LostSpans(database).standing()
    finally:
        database.dispose()
    if as_json:
        output.print_json({"standing": standing, "lost_spans": [_as_json(span) for span in spans]})
        return 0
    if spans:
        columns = [
            "id",
            "noticed",
            "source",
            "shard",
            "records",
            "from",
            "until",
            "after",
            "before",
            "reason",
        ]
        output.print_rows_table(columns, map(_row, spans), len(spans))
    print(f"{standing:,} stand")
    return 0


def acknowledge_spans(settings: Settings, span_ids: Sequence[int] | None, note: str, *, as_json: bool) -> int:
    """Take note of lost spans. Raises `NoSuchSpan` where ids were given and none of them stands."""
    database = opened(settings)
    try:
        count = LostSpans(database).acknowledge(span_ids, note, now_us=SYSTEM_CLOCK.now_us())
    finally:
        database.dispose()
    if span_ids is not None and not count:
        raise NoSuchSpan(
            f"none of {', '.join(map(str, span_ids))} stands; `exchange-platform lost-spans list` shows those that do"
        )
    if as_json:
        output.print_json({"acknowledged": count})
    else:
        print(f"{count:,} acknowledged")
    return 0


def read_shard_again(settings: Settings, source: str, shard: str) -> int:
    """Let a shard be read from its beginning. Raises `UnknownShard`."""
    opened(settings).dispose()
    position = read_again(settings, source, shard)
    where = f"instead of after {position}" if position is not None else "as it was before"
    print(visible(f"{source} {shard} is read from the oldest record that the source holds, {where}."))
    return 0


def _row(span: LostSpan) -> tuple[Any, ...]:
    loss = span.loss
    return (
        span.span_id,
        from_us(span.noticed_at_us).replace(microsecond=0),
        loss.source,
        loss.shard.partition("@")[0],
        "unknown" if loss.records is None else loss.records,
        *(
            "unknown" if at_us is None else from_us(at_us).replace(microsecond=0)
            for at_us in (loss.from_us, loss.until_us)
        ),
        loss.after or "its beginning",
        loss.before or "unknown",
        visible(loss.reason),
    )


def _as_json(span: LostSpan) -> dict[str, Any]:
    loss = span.loss
    return {
        "id": span.span_id,
        "source": loss.source,
        "shard": loss.shard,
        "after": loss.after,
        "before": loss.before,
        "records": loss.records,
        **{
            name: None if at_us is None else from_us(at_us)
            for name, at_us in (
                ("from", loss.from_us),
                ("until", loss.until_us),
                ("noticed_at", span.noticed_at_us),
                ("acknowledged_at", span.acknowledged_at_us),
            )
        },
        "reason": loss.reason,
        "note": span.note,
    }
