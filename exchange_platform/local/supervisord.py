"""supervisord, whose logs may fail: `python -m exchange_platform.local.supervisord` takes its arguments.

On a full disk supervisord dies of a log that can't be turned over, or stops reading from the program whose
lines it could not write, which then stops at its next line. Here such lines are dropped. Configuring it lives
in processes.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import supervisor.loggers
from supervisor import supervisord

_handler: Any = supervisor.loggers.RotatingFileHandler  # supervisor has no types


class LossyLog(_handler):  # type: ignore[misc]
    """A log file that goes on when it can be written again."""

    stream: Any

    def emit(self, record: Any) -> None:
        """Write one line, or drop it."""
        try:
            if self.stream.closed:
                self.stream = Path(self.baseFilename).open(self.mode)  # noqa: SIM115 (the handler closes it)
            super().emit(record)
        except (OSError, ValueError):
            self.handleError()

    def handleError(self) -> None:  # noqa: N802 (supervisor's name)
        """Say nothing: one line for each that is lost would be no better than those. `up` says that the disk
        is full.
        """


def main() -> None:
    """Run supervisord."""
    supervisor.loggers.RotatingFileHandler = LossyLog
    supervisord.main()


if __name__ == "__main__":
    main()
