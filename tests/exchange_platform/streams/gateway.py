"""The exchange's gateway over real HTTP, served from this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from exchange_platform.exchanges.gateway.app import create_app
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from tests.support.platform_parts import wait_for


@contextmanager
def running_gateway(data_dir: Path, *, clock: Clock = SYSTEM_CLOCK) -> Iterator[str]:
    """Serve what lies in the directory; its URL."""
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(data_dir, clock=clock),
            host="127.0.0.1",
            port=0,
            log_config=None,
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started, what="the gateway serves")
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
