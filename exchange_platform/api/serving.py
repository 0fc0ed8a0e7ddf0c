"""Serving the API on one address, and telling what streams answers when the end has come. Not here: the
application (app.py).
"""

from __future__ import annotations

import socket

import uvicorn

from exchange_platform.api.app import create_app
from exchange_platform.api.services import Services
from exchange_platform.process.origins import LOOPBACK_NAMES, allowed_names
from exchange_platform.settings import Settings

_GRACE_S = 3


def names_served(settings: Settings, host: str) -> frozenset[str] | None:
    """By which names the API may be called that listens on `host`; None: on a network, and the settings name
    none.
    """
    here = host in LOOPBACK_NAMES or f"[{host}]" in LOOPBACK_NAMES
    if not here and settings.allowed_hosts is None:
        return None
    return allowed_names(settings.allowed_hosts, settings.public_url)


class Server(uvicorn.Server):
    """uvicorn, which sets `Services.ending` before it waits for the answers that are still being given."""

    def __init__(self, settings: Settings, *, host: str, port: int) -> None:
        app = create_app(settings, hosts=names_served(settings, host))
        # No line a request: a path or query can hold what must not be in a log.
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                proxy_headers=False,  # clients.py reads X-Forwarded-For, and believes it as far as the settings say
                server_header=False,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._parts: Services = app.state.services

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and to publish orders that some process committed and could not publish."""
        await super().startup(sockets)
        if self.started:
            self._parts.submission.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then the rest."""
        self._parts.ending.set()
        await super().shutdown(sockets)
