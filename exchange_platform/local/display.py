"""The platform's status for people: rich tables, and one plain line where there is no terminal. Not here: the
figures (status.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from exchange_platform.local.processes import ProcessState
from exchange_platform.operations.status import PlatformStatus
from exchange_platform.process.visible_text import visible

_SLOW_MS = 2_000.0
_SINKS = ("operational_database", "lake", "profile_view", "event_index")
_LATE_S = 10.0


def status_view(
    status: PlatformStatus, processes: Sequence[ProcessState] = (), notes: Sequence[str] = ()
) -> RenderableType:
    """Everything at a glance; what is not well is red."""
    parts: list[RenderableType] = [_headline(status), _sources(status), _figures(status)]
    if processes:
        parts.append(_processes(processes))
    parts += [Text.assemble((f"{name:>8}  ", "dim"), (url, "cyan")) for name, url in status.urls.items()]
    troubles = [text for consumer in status.consumers for text in consumer.trouble]
    parts += [Text(visible(note), style="yellow") for note in (*status.machine, *troubles, *notes)]
    return Group(*parts)


def status_line(status: PlatformStatus, processes: Sequence[ProcessState] = ()) -> str:
    """The same in one plain line."""
    consumers = status.consumers
    down = [f"{process.name} {process.state.lower()}" for process in processes if not process.runs]
    parts = [
        _state_of(status),
        f"{sum(consumer.rate for consumer in consumers):,.0f} records/s",
        f"lag {_ms(max((consumer.lag_ms for consumer in consumers), default=None))}",
        f"{status.records:,} records",
        f"{status.executions:,} executions" if status.executions is not None else "",
        f"{status.bets:,} bets",
        f"{status.profiles:,} profiles",
        f"{status.events:,} events",
        f"windows {status.windows.open:,} open {status.windows.closed:,} closed",
        f"{status.dead_letters:,} dead letters",
        f"{status.restatements:,} restatements",
        f"{status.lost_spans:,} lost spans" if status.lost_spans else "",
        f"{status.notifications.sent:,} mails sent {_mails_waiting(status)} waiting",
        *down,
        *(f"FAULT {text}" for text in status.machine),
    ]
    return " | ".join(part for part in parts if part)


def _state_of(status: PlatformStatus) -> str:
    if not status.running:
        return "no consumer"
    return "caught up" if status.caught_up else "catching up"


def _headline(status: PlatformStatus) -> Text:
    style = {"caught up": "bold green", "catching up": "bold yellow"}.get(_state_of(status), "bold red")
    return Text.assemble(("Exchange Platform  ", "bold"), (_state_of(status), style))


def _sources(status: PlatformStatus) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, justify in (
        ("source", "left"),
        ("shard", "left"),
        ("epoch", "right"),
        ("position", "right"),
        ("lag", "right"),
        ("rate", "right"),
        ("records", "right"),
        ("heartbeat", "right"),
        ("database p50/p99", "right"),
        ("lake", "right"),
        ("view", "right"),
        ("index", "right"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    told = {consumer.source: consumer for consumer in status.consumers}
    for shard in status.sources:
        consumer = told.get(shard.consumer)
        alive = consumer is not None and consumer.state == "running"
        state = Text(consumer.state if consumer is not None else "none", style="red") if not alive else None
        lags = [
            f"{_ms(sink.lag_p50_ms)}/{_ms(sink.lag_p99_ms)}" if sink is not None and sink.batches else "-"
            for sink in (shard.sinks.get(name) for name in _SINKS)
        ]
        table.add_row(
            escape(shard.source),
            escape(visible((shard.shard or "-").partition("@")[0])),
            str(shard.epoch),
            escape(visible(_short(shard.position))),
            Text(_ms(shard.lag_ms), style="red" if (shard.lag_ms or 0) > _SLOW_MS else ""),
            f"{consumer.rate:,.0f}/s" if consumer is not None else "-",
            f"{shard.records:,}",
            state if state is not None else Text(f"{shard.heartbeat_age_s:.1f} s ago"),
            *lags,
        )
    return table


def _figures(status: PlatformStatus) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    figures = [
        ("executions", "-" if status.executions is None else f"{status.executions:,}", ""),
        ("bets", f"{status.bets:,}", ""),
        ("profiles", f"{status.profiles:,}", ""),
        ("events", f"{status.events:,}", ""),
        ("windows open", f"{status.windows.open:,}", ""),
        ("closed", f"{status.windows.closed:,}", ""),
        ("dead letters", f"{status.dead_letters:,}", "bold red" if status.dead_letters else ""),
        ("restatements", f"{status.restatements:,}", ""),
        ("lost spans", f"{status.lost_spans:,}", "bold red" if status.lost_spans else ""),
        ("mails sent", f"{status.notifications.sent:,}", ""),
        ("waiting", _mails_waiting(status), "bold red" if _mails_are_late(status) else ""),
    ]
    cells = [Text.assemble((f"{name} ", "dim"), (value, style or "bold")) for name, value, style in figures]
    table.add_row(*cells)
    return table


def _mails_waiting(status: PlatformStatus) -> str:
    told = status.notifications
    behind = "".join(
        f" + {count:,} changes {what}"
        for count, what in ((told.unread, "unread"), (told.unpublished, "unpublished"))
        if count and _mails_are_late(status)
    )
    late = f" ({told.oldest_waiting_s:.0f} s)" if _mails_are_late(status) else ""
    return f"{told.waiting:,}{behind}{late}"


def _mails_are_late(status: PlatformStatus) -> bool:
    return status.notifications.oldest_waiting_s > _LATE_S


def _processes(processes: Sequence[ProcessState]) -> Text:
    line = Text()
    for process in processes:
        line.append("● ", style="green" if process.runs else "red")
        line.append(process.name)
        if not process.runs:
            line.append(f" {process.state.lower()}", style="red")
        if process.deaths:
            line.append(f" (restarted {process.deaths}x)", style="yellow")
        line.append("  ")
    return line


def _short(position: str | None) -> str:
    if position is None:
        return "-"
    return position if len(position) <= 20 else f"...{position[-17:]}"


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.0f} s"
