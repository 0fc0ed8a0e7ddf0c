"""An SMTP server that accepts and forgets, as a process of its own: `python -m benchmarks.smtp_sink PORT`."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

from aiosmtpd.controller import Controller


class Sink:
    """Accepts everything."""

    async def handle_DATA(self, _server: Any, _session: Any, _envelope: Any) -> str:  # noqa: N802
        """Accept and forget."""
        return "250 accepted"


def main() -> None:
    """Serve until terminated."""
    controller = Controller(Sink(), hostname="127.0.0.1", port=int(sys.argv[1]))
    controller.start()
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    ending.wait()
    controller.stop()


if __name__ == "__main__":
    main()
