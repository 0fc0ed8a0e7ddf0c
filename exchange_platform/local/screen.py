"""What `up` shows: a live display on a terminal, plain lines anywhere else. Not here: what is told
(display.py, up.py).
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from exchange_platform.local.display import status_line, status_view
from exchange_platform.local.processes import ProcessState
from exchange_platform.local.verdict import RunVerdict
from exchange_platform.operations.status import PlatformStatus
from exchange_platform.process.visible_text import visible

LINE_EVERY_S = 5.0


class Screen:
    """Writes to standard output; warnings and logs of what died go to standard error."""

    def __init__(self) -> None:
        self._out = Console(highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._said_waiting = ""
        self._line_at = 0.0

    def __enter__(self) -> Self:
        if self._out.is_terminal:
            self._live = Live(
                console=Console(highlight=False), auto_refresh=True, refresh_per_second=4, transient=True
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._print(Text(visible(text)))

    def warn(self, text: str) -> None:
        """Print a line about something that is not well."""
        if self._live is not None:
            self._print(Text(visible(text), style="bold red"))
        else:
            with contextlib.suppress(OSError):
                print(visible(text), file=sys.stderr, flush=True)

    def show_log(self, name: str, lines: Sequence[str]) -> None:
        """Print the end of a program's log."""
        if lines:
            self.warn(f"The last lines of {name}:")
        for line in lines:
            self.warn(f"    {line}")

    def show_waiting(self, waiting: Sequence[str], since_s: float) -> None:
        """Show what is waited for; on plain output once for each change."""
        text = f"Waiting for {', '.join(waiting)}"
        if self._live is not None:
            self._live.update(Spinner("dots", Text(f"{text}  ({since_s:.0f} s)")))
        elif text != self._said_waiting:
            self._said_waiting = text
            self.say(text)

    def show_status(
        self, status: PlatformStatus, processes: Sequence[ProcessState], notes: Sequence[str]
    ) -> None:
        """Show the platform; on plain output a line every five seconds."""
        if self._live is not None:
            self._live.update(status_view(status, processes, notes))
        elif time.monotonic() - self._line_at >= LINE_EVERY_S:
            self._line_at = time.monotonic()
            self.say(f"{time.strftime('%H:%M:%S')} {status_line(status, processes)}")

    def show_verdict(self, verdict: RunVerdict) -> None:
        """Print the summary of a timed run, and the reasons why it did not go well on standard error."""
        table = Table(box=None, pad_edge=False, show_header=False)
        for what, figure in verdict.lines:
            table.add_row(Text(what, style="dim"), Text(figure))
        self._out.print(table)
        if verdict.reasons:
            for reason in verdict.reasons:
                print(f"NOT WELL: {visible(reason)}", file=sys.stderr, flush=True)
        else:
            self.say("All went well.")

    def _print(self, text: Text) -> None:
        # A closed terminal or pipe, or a full disk under a file, must end nothing, nor keep anything from
        # being stopped.
        with contextlib.suppress(OSError):
            (self._live.console if self._live is not None else self._out).print(text)
            sys.stdout.flush()
