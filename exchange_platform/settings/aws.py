"""How AWS is reached: clients for the services in use, or for the emulator that stands in for them."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as AwsConnectionError

from exchange_platform.process.aws_clients import new_client
from exchange_platform.settings import Settings

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
_TRANSIENT = frozenset(
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
    """A client for `service` where the settings say that it is (aws_clients.py)."""
    return new_client(
        service,
        region=settings.aws_region,
        endpoint_url=settings.aws_endpoint_url,
        read_timeout_s=read_timeout_s,
        emulator_key=settings.emulator_key.get_secret_value() if settings.emulator_key is not None else None,
    )


def topic_arn(settings: Settings, name: str) -> str:
    """The ARN of the SNS topic of that name in this account and region; an ARN is its own. Raises what boto3
    does.
    """
    if name.startswith("arn:"):
        return name
    sts = aws_client(settings, "sts")
    try:
        identity = sts.get_caller_identity()
    finally:
        sts.close()
    partition = str(identity["Arn"]).split(":")[1]
    return f"arn:{partition}:sns:{settings.aws_region}:{identity['Account']}:{name}"


def error_code(error: BaseException) -> str:
    """AWS's name for the error, or the exception's."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "Unknown"))
    return type(error).__name__


def is_transient(error: BaseException) -> bool:
    """Whether the same call may go through later: throttled, unreachable, timed out, or the service's own
    fault.
    """
    if isinstance(error, AwsConnectionError | HTTPClientError):
        return True
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return error_code(error) in THROTTLED | _TRANSIENT or status >= 500
    return isinstance(error, BotoCoreError) and "credentials" not in str(error).lower()
