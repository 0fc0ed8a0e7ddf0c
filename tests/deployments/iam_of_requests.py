"""What a request to AWS must be allowed: IAM's actions, each with the ARN of what it is done to. Not here:
keeping requests (recorded_calls.py), policies (policies.py).

Names of actions, and which resources an action knows, are those of AWS's Service Authorization Reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parseaddr
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

ACCOUNT = "123456789012"
"""The emulator's, Terraform's as well as the recorded platform's."""

_SCOPE = re.compile(r"Credential=[^/]+/[^/]+/([^/]+)/([^/]+)/")
_SERVICES = {
    "Kinesis": "kinesis",
    "DynamoDB": "dynamodb",
    "AmazonSQS": "sqs",
    "AmazonEC2ContainerServiceV20141113": "ecs",
    "secretsmanager": "secretsmanager",
    "GraniteServiceVersion20100801": "cloudwatch",
}
_MAIL = "/v2/email/outbound-emails"
# Where IAM's action has another name than the call.
_OTHERWISE = {"sns:PublishBatch": "sns:Publish", "sqs:DeleteMessageBatch": "sqs:DeleteMessage"}
_NEEDS_NO_PERMISSION = {"sts:GetCallerIdentity"}
_TRANSACTED = {
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
}
_OBJECTS = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "DELETE": "s3:DeleteObject"}


class Call(NamedTuple):
    """An action, and the ARN of what it is done to."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()
    """What conditions may ask about: IAM's keys, each with its value."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came over HTTP."""

    method: str
    path: str
    query: str
    target: str
    """The call, where it stands in a header: `DynamoDB_20120810.GetItem`."""
    service: str
    region: str
    body: bytes

    @classmethod
    def of(cls, environ: Mapping[str, Any], body: bytes) -> Request:
        """From WSGI's environment. Raises `ValueError` for a request that nobody signed."""
        scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
        if scope is None:
            raise ValueError(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} is not signed")
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        service = _SERVICES[re.split("[_.]", target)[0]] if target else scope[2]
        where = environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("QUERY_STRING", "")
        return cls(*where, target, service, scope[1], body)

    @property
    def name(self) -> str:
        """The call's, of a service that is asked with JSON."""
        return self.target.rpartition(".")[2]

    def arn(self, resource: str) -> str:
        """The ARN of a resource of this service, which may be one already."""
        return (
            resource
            if resource.startswith("arn:")
            else f"arn:aws:{self.service}:{self.region}:{ACCOUNT}:{resource}"
        )


def calls(request: Request, iterators: Mapping[str, str]) -> set[Call]:
    """All that the request must be allowed. `iterators`: of each that Kinesis gave out, its stream's ARN."""
    if request.service == "kinesis":
        return {Call(f"kinesis:{request.name}", _stream(request, iterators))}
    named = (
        call._replace(action=_OTHERWISE.get(call.action, call.action))
        for call in _READ[request.service](request)
    )
    return {call for call in named if call.action not in _NEEDS_NO_PERMISSION}


def given_out(request: Request, answer: bytes, iterators: Mapping[str, str]) -> dict[str, str]:
    """The iterators in Kinesis's answer, each with its stream's ARN: later requests name nothing else."""
    if request.service != "kinesis" or not answer:
        return {}
    told = json.loads(answer)
    names = (told.get(key) for key in ("ShardIterator", "NextShardIterator", "NextToken"))
    return {name: _stream(request, iterators) for name in names if name}


def _stream(request: Request, iterators: Mapping[str, str]) -> str:
    asked = json.loads(request.body)
    if "StreamARN" in asked:
        return str(asked["StreamARN"])
    if "StreamName" in asked:
        return request.arn(f"stream/{asked['StreamName']}")
    return iterators[asked.get("ShardIterator") or asked["NextToken"]]


def _dynamodb(request: Request) -> Iterator[Call]:
    asked = json.loads(request.body)
    if request.name == "TransactWriteItems":
        for item in asked["TransactItems"]:
            for kind, one in item.items():
                yield Call(_TRANSACTED[kind], request.arn(f"table/{one['TableName']}"))
    elif request.name == "BatchGetItem":
        for table in asked["RequestItems"]:
            yield Call("dynamodb:BatchGetItem", request.arn(f"table/{table}"))
    else:
        index = f"/index/{asked['IndexName']}" if "IndexName" in asked else ""
        yield Call(f"dynamodb:{request.name}", request.arn(f"table/{asked['TableName']}{index}"))


def _sqs(request: Request) -> Iterator[Call]:
    asked = json.loads(request.body)
    queue = (
        asked["QueueName"] if "QueueName" in asked else urlsplit(asked["QueueUrl"]).path.rpartition("/")[2]
    )
    yield Call(f"sqs:{request.name}", request.arn(queue))


def _in_a_form(request: Request) -> Iterator[Call]:
    """Of the services that are asked with a form: SNS, whose calls here are about a topic, STS, and EC2,
    which is asked about everything.
    """
    asked = parse_qs(request.body.decode())
    yield Call(f"{request.service}:{asked['Action'][0]}", asked.get("TopicArn", ["*"])[0])


def _mail(request: Request) -> Iterator[Call]:
    """A mail needs its sender's identity, here always the address's domain, and the configuration set where
    it names one.
    """
    if request.path != _MAIL:
        raise ValueError(f"{request.path}: only sending mail is known")
    asked = json.loads(request.body)
    action = "ses:SendRawEmail" if "Raw" in asked["Content"] else "ses:SendEmail"
    domain = parseaddr(asked["FromEmailAddress"])[1].rpartition("@")[2]
    yield Call(action, request.arn(f"identity/{domain}"))
    if "ConfigurationSetName" in asked:
        yield Call(action, request.arn(f"configuration-set/{asked['ConfigurationSetName']}"))


def _ecs(request: Request) -> Iterator[Call]:
    """A task that is started with tags must be allowed those, too. The roles that it gets are handed over by
    `iam:PassRole`, of which no request tells.
    """
    asked = json.loads(request.body)
    cluster = str(asked.get("cluster", "default")).rpartition("/")[2]
    if request.name == "RunTask":
        definition = str(asked["taskDefinition"])
        if not definition.startswith("arn:"):
            definition = request.arn(f"task-definition/{definition}:1")
        yield Call("ecs:RunTask", definition, (("ecs:cluster", request.arn(f"cluster/{cluster}")),))
        if asked.get("tags"):
            yield Call("ecs:TagResource", request.arn(f"task/{cluster}/a-new-one"))
    elif request.name in ("DescribeTasks", "StopTask"):
        for task in asked.get("tasks") or [asked["task"]]:
            yield Call(f"ecs:{request.name}", request.arn(task))
    else:
        yield Call(f"ecs:{request.name}", "*")


def _secrets(request: Request) -> Iterator[Call]:
    yield Call(f"secretsmanager:{request.name}", str(json.loads(request.body)["SecretId"]))


def _figures(request: Request) -> Iterator[Call]:
    asked = json.loads(request.body)
    yield Call("cloudwatch:PutMetricData", "*", (("cloudwatch:namespace", asked["Namespace"]),))


def _s3(request: Request) -> Iterator[Call]:
    bucket, _, key = request.path.lstrip("/").partition("/")
    arn = f"arn:aws:s3:::{bucket}"
    asked = parse_qs(request.query, keep_blank_values=True)
    if request.method == "POST" and "delete" in asked:
        for element in ElementTree.fromstring(request.body).iter():
            if element.tag.rpartition("}")[2] == "Key":
                yield Call("s3:DeleteObject", f"{arn}/{element.text}")
    elif not key:
        if request.method not in ("GET", "HEAD") or asked.keys() & {
            "location",
            "policy",
            "versions",
            "uploads",
        }:
            raise ValueError(f"{request.method} {request.path}?{request.query}: not known of a bucket")
        yield Call("s3:ListBucket", arn, (("s3:prefix", asked.get("prefix", [""])[0]),))
    elif request.method == "DELETE" and "uploadId" in asked:
        yield Call("s3:AbortMultipartUpload", f"{arn}/{key}")
    else:
        action = "s3:PutObject" if request.method == "POST" else _OBJECTS[request.method]
        yield Call(action, f"{arn}/{key}")


_READ: dict[str, Callable[[Request], Iterator[Call]]] = {
    "dynamodb": _dynamodb,
    "sqs": _sqs,
    "sns": _in_a_form,
    "sts": _in_a_form,
    "ec2": _in_a_form,
    "ecs": _ecs,
    "cloudwatch": _figures,
    "secretsmanager": _secrets,
    "ses": _mail,
    "s3": _s3,
}
