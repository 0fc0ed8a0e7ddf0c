"""How AWS is reached: clients for the services in use, or for the emulator that stands in for them."""

from __future__ import annotations

import functools
import ipaddress
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.loaders
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as AwsConnectionError

from exchange_platform.settings import Settings

_EMULATOR_CREDENTIALS = {
    "aws_access_key_id": "emulator",
    "aws_secret_access_key": "emulator",
}  # accepted by any emulator

THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "LimitExceededException",
        "ThrottlingException",
        "Throttling",
        "RequestLimitExceeded",
        "KMSThrottlingException",
    }
)
_PASSING = frozenset(
    {
        "InternalFailure",
        "InternalServerError",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "500",
        "502",
        "503",
    }
)


def aws_client(settings: Settings, service: str, *, read_timeout_s: float = 10.0) -> Any:
    """A boto3 client for `service` that tries each call once: callers here retry with their own, visible back-off.

    Thread-safe, as boto3's clients are. Credentials come from boto3's own chain, except for an emulator on this machine.
    """
    endpoint = settings.aws_endpoint_url
    emulated = endpoint is not None and is_on_this_machine(endpoint)
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
        region_name=settings.aws_region,
        endpoint_url=endpoint,
        config=config,
        **(_EMULATOR_CREDENTIALS if emulated else {}),
    )


@functools.cache
def _descriptions() -> Any:
    """What boto3's files say of the services, read once a process: a client is then made in a tenth of the time."""
    return botocore.loaders.create_loader()


def topic_arn(settings: Settings, name: str) -> str:
    """The ARN of the SNS topic of that name in this account and region; an ARN is its own. Raises what boto3 does."""
    if name.startswith("arn:"):
        return name
    sts = aws_client(settings, "sts")
    try:
        identity = sts.get_caller_identity()
    finally:
        sts.close()
    partition = str(identity["Arn"]).split(":")[1]
    return f"arn:{partition}:sns:{settings.aws_region}:{identity['Account']}:{name}"


def is_on_this_machine(endpoint_url: str) -> bool:
    """Whether the endpoint is a loopback address, so an emulator and never AWS."""
    host = urlsplit(endpoint_url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def error_code(error: BaseException) -> str:
    """AWS's name for the error, or the exception's."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "Unknown"))
    return type(error).__name__


def is_passing(error: BaseException) -> bool:
    """Whether the same call may go through later: throttled, unreachable, timed out, or the service's own fault."""
    if isinstance(error, AwsConnectionError | HTTPClientError):
        return True
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return error_code(error) in THROTTLED | _PASSING or status >= 500
    return isinstance(error, BotoCoreError) and "credentials" not in str(error).lower()
