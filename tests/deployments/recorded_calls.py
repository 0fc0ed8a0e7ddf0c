"""What a piece of the platform asks of AWS: the requests that an emulator gets, as the actions that IAM knows. Not here: policies (test_policies.py)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs

_SCOPE = re.compile(r"Credential=[^/]+/[^/]+/[^/]+/([^/]+)/")
_PREFIXES = {"Kinesis": "kinesis", "DynamoDB": "dynamodb", "AmazonSQS": "sqs"}
# Where IAM's action has another name than the call (Service Authorization Reference).
_OTHERWISE = {
    "sns:PublishBatch": "sns:Publish",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sts:GetCallerIdentity": None,  # needs no permission
}
_TRANSACTED = {
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
}
_OBJECTS = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "DELETE": "s3:DeleteObject"}


class Recorder:
    """A WSGI application that hands on to another, and keeps what was asked of it while a task is named."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.task: str | None = None
        self.actions: dict[str, set[str]] = {}
        """Of each task: the actions that it needs."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if self.task is not None:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = BytesIO(body)
            self.actions.setdefault(self.task, set()).update(_actions(environ, body))
        answer: Iterable[bytes] = self._application(environ, start_response)
        return answer


def _actions(environ: dict[str, Any], body: bytes) -> set[str]:
    """The actions that a request needs."""
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        name, _, call = target.partition(".")
        service = _PREFIXES[name.partition("_")[0]]
        if call == "TransactWriteItems":
            return {_TRANSACTED[kind] for item in json.loads(body)["TransactItems"] for kind in item}
        return _named(f"{service}:{call}")
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    service = scope[1] if scope else ""
    if service == "s3":
        return {_s3_action(environ)}
    if environ["PATH_INFO"] == "/v2/email/outbound-emails":
        return {"ses:SendRawEmail" if "Raw" in json.loads(body)["Content"] else "ses:SendEmail"}
    return _named(f"{service}:{parse_qs(body.decode())['Action'][0]}")


def _named(call: str) -> set[str]:
    action = _OTHERWISE.get(call, call)
    return {action} if action is not None else set()


def _s3_action(environ: dict[str, Any]) -> str:
    _, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
    if environ["REQUEST_METHOD"] == "GET" and not key:
        return "s3:ListBucket"
    if environ["REQUEST_METHOD"] == "POST":
        return "s3:DeleteObject" if "delete" in environ["QUERY_STRING"] else "s3:PutObject"
    return _OBJECTS[environ["REQUEST_METHOD"]]
