"""Answers the calls that flow all the time by moto's models alone. Not here: what the models do (moto, and
its neighbours).

For each call moto (5.2) reads the request by its service's whole description, field by field, and writes the
answer so, which takes several times as long as what is done in between. The platform's four most frequent
calls are read and written here, as botocore sends and reads them. Whatever is out of the ordinary, an error
above all, is moto's to answer.
"""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import moto.dynamodb.models
import moto.kinesis.models
import moto.sns.models
import msgspec
from moto.core.responses import BaseResponse
from moto.iam.models import get_account_id_from
from moto.sns.responses import SNSResponse

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d+/([^/]+)/")
_DEFAULT_KEY = "AKIAEXAMPLE"
_PUBLISH_BATCH = b"Action=PublishBatch&"
_FIELD = re.compile(
    r"PublishBatchRequestEntries\.member\.(\d+)\.(\w+)(?:\.entry\.(\d+)\.(Name|Value\.(?:DataType|StringValue)))?"
)

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class _Unusual(Exception):
    """Something that moto answers itself."""


class _FirstOfItsKind(_Unusual):
    def __init__(self, kinds: set[tuple[Any, ...]]) -> None:
        super().__init__()
        self.kinds = kinds


class FastPaths:
    """Around moto's application: answers what it can and passes on the rest."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._known_puts: set[tuple[Any, ...]] = set()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        call = self._call(environ)
        if call is None:
            return self._application(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        try:
            kind, content = call(body, *_account_and_region(environ))
        except Exception as error:  # moto sees the same, and says what is wrong
            environ["wsgi.input"] = io.BytesIO(body)
            if isinstance(error, _FirstOfItsKind):
                start_response = self._learning(error.kinds, start_response)
            return self._application(environ, start_response)
        headers = [
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("x-amzn-RequestId", str(uuid.uuid4())),
        ]
        start_response("200 OK", headers)
        return [content]

    def _call(self, environ: dict[str, Any]) -> Callable[[bytes, str, str], tuple[str, bytes]] | None:
        if environ["REQUEST_METHOD"] != "POST" or "HTTP_CONTENT_ENCODING" in environ:
            return None
        kind = environ.get("CONTENT_TYPE", "")
        if kind.startswith("application/x-amz-json-1."):
            target = environ.get("HTTP_X_AMZ_TARGET", "")
            if target == "DynamoDB_20120810.TransactWriteItems":
                return self._transact_puts
            return {
                "Kinesis_20131202.GetRecords": _get_records,
                "Kinesis_20131202.PutRecords": _put_records,
            }.get(target)
        return _publish_batch if kind.startswith("application/x-www-form-urlencoded") else None

    def _transact_puts(self, body: bytes, account: str, region: str) -> tuple[str, bytes]:
        """A transaction of puts. Of each kind of put, moto checks the first, its expressions and what they
        name; later ones are like it.
        """
        items = _decode(body)["TransactItems"]
        kinds = set(map(_kind_of_put, items))
        if not kinds <= self._known_puts:
            raise _FirstOfItsKind(kinds)
        moto.dynamodb.models.dynamodb_backends[account][region].transact_write_items(items)
        return "application/x-amz-json-1.0", b'{"ConsumedCapacity": [], "ItemCollectionMetrics": {}}'

    def _learning(
        self, kinds: set[tuple[Any, ...]], start_response: Callable[..., Any]
    ) -> Callable[..., Any]:
        def started(status: str, *rest: Any) -> Any:
            if status.startswith("200"):
                self._known_puts |= kinds
            return start_response(status, *rest)

        return started


def _account_and_region(environ: dict[str, Any]) -> tuple[str, str]:
    """Whose call it is, as moto finds it."""
    signed = _SCOPE.match(environ.get("HTTP_AUTHORIZATION", ""))
    elsewhere = "HTTP_X_MOTO_ACCOUNT_ID" in environ or ".amazonaws.com" in environ.get("HTTP_HOST", "")
    if signed is None or elsewhere or " region/" in environ.get("HTTP_USER_AGENT", ""):
        raise _Unusual
    known = BaseResponse.access_key_regex.search(signed[0])
    return get_account_id_from(known[1] if known else _DEFAULT_KEY), signed[2]


def _get_records(body: bytes, account: str, region: str) -> tuple[str, bytes]:
    asked = _decode(body)
    following, records, behind_ms = moto.kinesis.models.kinesis_backends[account][region].get_records(
        asked.get("StreamARN"), asked["ShardIterator"], asked.get("Limit")
    )
    answer = {
        "Records": [
            {
                "Data": record.data,
                "PartitionKey": record.partition_key,
                "SequenceNumber": str(record.sequence_number),
                "ApproximateArrivalTimestamp": record.created_at,
            }
            for record in records
        ],
        "MillisBehindLatest": behind_ms,
    }
    if following is not None:
        answer["NextShardIterator"] = following
    return "application/x-amz-json-1.1", _encode(answer)


def _put_records(body: bytes, account: str, region: str) -> tuple[str, bytes]:
    asked = _decode(body)
    if not all(
        set(record) == {"Data", "PartitionKey"} and record["PartitionKey"] for record in asked["Records"]
    ):
        raise _Unusual
    answer = moto.kinesis.models.kinesis_backends[account][region].put_records(
        asked.get("StreamARN"), asked.get("StreamName"), asked["Records"]
    )
    return "application/x-amz-json-1.1", _encode(answer)


def _kind_of_put(item: dict[str, Any]) -> tuple[Any, ...]:
    """What moto's checks of a put depend on, but for empty values, which are unusual."""
    ((operation, put),) = item.items()
    if operation != "Put" or not all(all(typed.values()) for typed in put["Item"].values()):
        raise _Unusual
    names, values = put.get("ExpressionAttributeNames", {}), put.get("ExpressionAttributeValues", {})
    return (
        *sorted(put),
        put["TableName"],
        put.get("ConditionExpression"),
        *sorted(names.items()),
        *sorted(values),
    )


def _publish_batch(body: bytes, account: str, region: str) -> tuple[str, bytes]:
    if not body.startswith(_PUBLISH_BATCH):
        raise _Unusual
    topic, entries = "", dict[str, dict[str, Any]]()
    attributes: dict[tuple[str, str], dict[str, str]] = {}
    for name, value in parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True):
        if name == "TopicArn":
            topic = value
        elif name not in ("Action", "Version"):
            field = _FIELD.fullmatch(name)
            if field is None:
                raise _Unusual
            number, entry_field, attribute, attribute_field = field.groups()
            entry = entries.setdefault(number, {})
            if attribute is None:
                entry[entry_field] = value
            else:
                attributes.setdefault((number, attribute), {})[attribute_field] = value
    for (number, _), attribute_fields in attributes.items():
        named = entries[number].setdefault("MessageAttributes", {})
        named[attribute_fields.pop("Name")] = {
            name.removeprefix("Value."): value for name, value in attribute_fields.items()
        }
    response = SNSResponse()
    for entry in entries.values():
        if "MessageAttributes" in entry:
            entry["MessageAttributes"] = response._transform_message_attributes(entry["MessageAttributes"])
    done, failed = moto.sns.models.sns_backends[account][region].publish_batch(topic, list(entries.values()))
    return "text/xml", (
        '<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishBatchResult>'
        f"<Successful>{_members(done)}</Successful><Failed>{_members(failed)}</Failed></PublishBatchResult>"
        f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata></PublishBatchResponse>"
    ).encode()


def _members(told: Iterable[dict[str, Any]]) -> str:
    return "".join(f"<member>{''.join(_element(*field) for field in one.items())}</member>" for one in told)


def _element(name: str, value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else escape(str(value))
    return f"<{name}>{text}</{name}>"
