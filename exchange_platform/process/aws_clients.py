"""Making boto3 clients, for AWS or for an emulator that stands in for it. Not here: the platform's settings
(settings/aws.py).
"""

from __future__ import annotations

import functools
import ipaddress
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.loaders
import botocore.session
from botocore.config import Config
from botocore.exceptions import HTTPClientError

from exchange_platform.process.call_bounds import MAX_BYTES, bounded_call, bounded_pools

EMULATOR_ACCESS_KEY = "emulator"
CONNECT_TIMEOUT_S = 2.0
_MAKING = threading.Lock()
"""boto3's clients are thread-safe, making them is not."""
_FIRST_ERROR = 300
"""A status of botocore's errors."""


def new_client(
    service: str,
    *,
    region: str,
    endpoint_url: str | None,
    read_timeout_s: float = 10.0,
    emulator_key: str | None = None,
) -> Any:
    """A boto3 client for `service` that tries each call once: callers here retry with their own, visible
    back-off.

    Thread-safe, as boto3's clients are. A call takes twice `read_timeout_s` at most. Credentials come from
    boto3's own chain, except for an emulator on this machine: that gets `emulator_key`, and no other
    credentials, which are for AWS.
    """
    emulated = endpoint_url is not None and is_on_this_machine(endpoint_url)
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=read_timeout_s,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=8,
        parameter_validation=False,
        proxies={} if emulated else None,  # no proxy of the environment's stands between us and this machine
    )
    with _MAKING:
        client = _session().client(
            service,
            region_name=region,
            endpoint_url=endpoint_url,
            config=config,
            **(_credentials(emulator_key) if emulated else {}),
        )
    endpoint = client._endpoint
    endpoint.http_session = _BoundedSession(endpoint.http_session, CONNECT_TIMEOUT_S + 2 * read_timeout_s)
    return client


class _BoundedSession:
    """Around botocore's HTTP session: each answer is bounded in bytes, and each call in time, dripped bytes
    included.

    botocore has no public way to replace the session, so a test holds this to what the installed one does.
    What is read bit by bit, an object of S3, has a time-out for each bit.
    """

    def __init__(self, session: Any, max_s: float) -> None:
        pools = {scheme: bounded_pools(pool) for scheme, pool in session._pool_classes_by_scheme.items()}
        session._pool_classes_by_scheme = session._manager.pool_classes_by_scheme = pools
        self._session = session
        self._max_s = max_s

    def send(self, request: Any) -> Any:
        """Send it; the answer is read whole, unless it is wanted bit by bit."""
        until_s = time.monotonic() + self._max_s
        with bounded_call(until_s=until_s, max_bytes=None if request.stream_output else MAX_BYTES):
            answer = self._session.send(request)
        if answer.status_code >= _FIRST_ERROR:
            with bounded_call(until_s=until_s, max_bytes=MAX_BYTES):
                try:
                    _ = (
                        answer.content
                    )  # it stays there for botocore, which reads an error whole, of an object too
                except Exception as error:
                    raise HTTPClientError(error=error) from error
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


def _credentials(emulator_key: str | None) -> dict[str, str]:
    return {
        "aws_access_key_id": EMULATOR_ACCESS_KEY,
        "aws_secret_access_key": emulator_key or "emulator",  # of one that checks no signature
    }


@functools.cache
def _session() -> Any:
    """One a process: what boto3's files say of the services is read once, and its hooks are registered once.
    A client is then made in a twentieth of the time.
    """
    core = botocore.session.get_session()
    core.register_component("data_loader", botocore.loaders.create_loader())
    return boto3.session.Session(botocore_session=core)


def is_on_this_machine(endpoint_url: str) -> bool:
    """Whether the endpoint is a loopback address, so an emulator and never AWS."""
    host = urlsplit(endpoint_url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
