"""Making boto3 clients, for AWS or for an emulator that stands in for it. Not here: the platform's settings (aws.py)."""

from __future__ import annotations

import functools
import ipaddress
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.loaders
import botocore.session
from botocore.config import Config

EMULATOR_ACCESS_KEY = "emulator"


def new_client(
    service: str,
    *,
    region: str,
    endpoint_url: str | None,
    read_timeout_s: float = 10.0,
    emulator_key: str | None = None,
) -> Any:
    """A boto3 client for `service` that tries each call once: callers here retry with their own, visible back-off.

    Thread-safe, as boto3's clients are. Credentials come from boto3's own chain, except for an emulator on this machine: that gets
    `emulator_key`, and no other credentials, which are for AWS.
    """
    emulated = endpoint_url is not None and is_on_this_machine(endpoint_url)
    config = Config(
        connect_timeout=2,
        read_timeout=read_timeout_s,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=8,
        parameter_validation=False,
        proxies={} if emulated else None,  # no proxy of the environment's stands between us and this machine
    )
    core = botocore.session.get_session()
    core.register_component("data_loader", _descriptions())
    session: Any = boto3.session.Session(botocore_session=core)
    return session.client(
        service,
        region_name=region,
        endpoint_url=endpoint_url,
        config=config,
        **(_credentials(emulator_key) if emulated else {}),
    )


def _credentials(emulator_key: str | None) -> dict[str, str]:
    return {
        "aws_access_key_id": EMULATOR_ACCESS_KEY,
        "aws_secret_access_key": emulator_key or "emulator",  # of one that checks no signature
    }


@functools.cache
def _descriptions() -> Any:
    """What boto3's files say of the services, read once a process: a client is then made in a tenth of the time."""
    return botocore.loaders.create_loader()


def is_on_this_machine(endpoint_url: str) -> bool:
    """Whether the endpoint is a loopback address, so an emulator and never AWS."""
    host = urlsplit(endpoint_url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
