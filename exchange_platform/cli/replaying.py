"""The command `replay`: progress and summary. Not here: what is published (exchanges/betfair/replay.py)."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from exchange_platform.cli.output import say_line
from exchange_platform.exchanges.betfair.recorded import sports_data_beside
from exchange_platform.exchanges.betfair.replay import ReplayProgress, ReplaySummary, replay
from exchange_platform.exchanges.feed_journal import FEED_FILE, FeedJournal
from exchange_platform.local.running import require_stream
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.operational.bets.restatements import Restatements
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.sources.kinesis import Publisher


def replay_files(settings: Settings, files: Sequence[Path], speed: float | None) -> int:
    """Publish what the files hold, and the sports data beside them; 1 if it was interrupted.

    Raises `NotRunning`, `NotARecording` and what the stream raises.
    """
    require_stream(settings)
    console = Console(stderr=True)
    beside = sports_data_beside(files)
    for path in beside:
        say_line(console, f"{path} lies beside its market stream, and is replayed too")
    stopping = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stopping.set())
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    database = Database(settings.operational_database_url)
    client = aws_client(settings, "kinesis")
    feed = FeedJournal(settings.data_dir / FEED_FILE)
    began = time.monotonic()
    try:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[executions]:,} executions"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        ) as bar:
            task = bar.add_task("replay", executions=0)

            def show(progress: ReplayProgress) -> None:
                bar.update(
                    task,
                    total=progress.bytes_total,
                    completed=progress.bytes_read,
                    executions=progress.executions,
                )

            summary = replay(
                [*files, *beside],
                publisher=Publisher(client, settings.bets_stream, stopping=stopping),
                restatements=Restatements(database),
                feed=feed,
                speed=speed,
                on_progress=show,
                stopping=stopping,
            )
    finally:
        feed.close()
        client.close()
        database.dispose()
    _say(summary, time.monotonic() - began, console)
    return int(summary.interrupted)


def _say(summary: ReplaySummary, seconds: float, console: Console) -> None:
    print(
        f"{summary.executions:,} executions published, stake {summary.stake:,}, from {summary.messages:,} messages"
        f" in {seconds:.1f} s"
    )
    print(f"{summary.updates:,} updates of {len(summary.events):,} events published")
    classes = ", ".join(f"{count} {name}" for name, count in summary.restatement_classes.most_common())
    print(f"{summary.restatements:,} restatements{f' ({classes})' if classes else ''}")
    for damage in summary.damaged.first[:10]:
        say_line(console, f"{damage.file}, line {damage.line}: passed over: {damage.reason}")
    if summary.damaged.count:
        say_line(console, f"{summary.damaged.count:,} damaged lines passed over")
    for refused in summary.refused.first[:10]:
        say_line(console, f"not published: {refused}")
    if summary.interrupted:
        say_line(console, "interrupted; replaying again repeats nothing that is stored")
