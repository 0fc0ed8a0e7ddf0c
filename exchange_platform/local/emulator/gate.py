"""Who may call the emulator: requests that are signed with this start's key, and no page of a browser. What
is answered stands elsewhere.

moto takes any signature, echoes any CORS origin, and forgets everything at `POST /moto-api/reset`: any
program or page on this machine could write to the streams. The signature is AWS's (Signature Version 4),
computed again by botocore's own signer.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from exchange_platform.process.aws_clients import EMULATOR_ACCESS_KEY
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.process.origins import Asked, refusal

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

HEALTH_PATH = "/health"
MAX_SKEW_S = 900
"""AWS's own bound on the age of a signature."""
_INTERNAL_PATH = "/moto-api"
_TIME = "%Y%m%dT%H%M%SZ"
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,\s]+)/(?P<date>\d{8})/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)/aws4_request,"
    r"\s*SignedHeaders=(?P<headers>[a-z0-9;-]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)


class NotSigned(Exception):
    """The request bears no signature that holds. The message says why."""


class Gate:
    """Around an application: passes on what may come in."""

    def __init__(
        self,
        application: Application,
        *,
        names: frozenset[str] | None,
        secret: str | None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`names` are what it may be called (None: anything), `secret` is the key that requests are signed
        with (None: any).
        """
        self._application = application
        self._names = names
        self._secret = secret
        self._clock = clock

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request, or pass it on (PEP 3333)."""
        headers = _headers(environ)
        asked = Asked.of(environ["REQUEST_METHOD"], headers.items())
        why = refusal(asked, self._names)
        if why is None and environ["PATH_INFO"] == HEALTH_PATH:
            return _answer(start_response, "200 OK", "application/json", '{"healthy": true}')
        if why is None and environ["PATH_INFO"].startswith(_INTERNAL_PATH):
            why = "moto's own pages are closed"
        if why is not None:
            return _answer(start_response, "403 Forbidden", "text/plain", f"refused: {why}\n")
        if self._secret is not None:
            try:
                self._verify(environ, headers, self._secret)
            except NotSigned as error:
                return _unsigned(start_response, headers, str(error))
        return self._application(environ, _without_cors(start_response))

    def _verify(self, environ: dict[str, Any], headers: Mapping[str, str], secret: str) -> None:
        """Raise `NotSigned` unless the request is signed with the key, lately, and as it is."""
        found = _SIGNED.fullmatch(headers.get("authorization", ""))
        if found is None:
            raise NotSigned("there is no signature (AWS Signature Version 4) in the header Authorization")
        signed = found["headers"].split(";")
        time = headers.get("x-amz-date", "")
        if not {"host", "x-amz-date"} <= set(signed) or not set(signed) <= headers.keys():
            raise NotSigned("Host and X-Amz-Date are signed, and every signed header is sent")
        self._check_time(time, found["date"])
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        digest = headers.get("x-amz-content-sha256")
        if digest is not None and digest != hashlib.sha256(body).hexdigest():
            raise NotSigned("X-Amz-Content-SHA256 is not the body's")
        request = AWSRequest(
            environ["REQUEST_METHOD"],
            f"http://{headers['host']}{quote(environ['PATH_INFO'].encode('latin-1'), safe='/-_.~')}"
            + (f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""),
            {name: headers[name] for name in signed},
            body,
        )
        request.context["timestamp"] = time
        kind = (
            S3SigV4Auth if found["service"] == "s3" else SigV4Auth
        )  # S3's paths are quoted once, others' twice
        signer: Any = kind(Credentials(found["key"], secret), found["service"], found["region"])
        expected = signer.signature(
            signer.string_to_sign(request, signer.canonical_request(request)), request
        )
        if found["key"] != EMULATOR_ACCESS_KEY or not hmac.compare_digest(expected, found["signature"]):
            raise NotSigned("the signature is of another key, or of another request")

    def _check_time(self, text: str, date: str) -> None:
        try:
            signed_s = datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise NotSigned("X-Amz-Date is no time") from None
        if not text.startswith(date) or abs(self._clock.now_us() / 1e6 - signed_s) > MAX_SKEW_S:
            raise NotSigned(f"it was signed at {text}, and signatures hold for {MAX_SKEW_S} s")


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    """The request's headers, in lower case; waitress has joined those that were given twice."""
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = str(environ[name])
    return headers


def _without_cors(start_response: Callable[..., Any]) -> Callable[..., Any]:
    """A `start_response` that lets no page of a browser read the answer."""

    def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        kept = [header for header in headers if not header[0].lower().startswith("access-control-")]
        return start_response(status, kept, *rest)

    return start


def _unsigned(start_response: Callable[..., Any], headers: Mapping[str, str], why: str) -> Iterable[bytes]:
    """AWS's answer to a wrong signature, in the form of the service that was asked."""
    kind = headers.get("content-type", "")
    if kind.startswith("application/x-amz-json"):
        body = json.dumps({"__type": "InvalidSignatureException", "message": why})
        return _answer(start_response, "403 Forbidden", kind, body)
    body = (
        "<ErrorResponse><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code>"
        f"<Message>{why}</Message></Error><RequestId>none</RequestId></ErrorResponse>"
    )
    return _answer(start_response, "403 Forbidden", "text/xml", body)


def _answer(start_response: Callable[..., Any], status: str, kind: str, text: str) -> Iterable[bytes]:
    body = text.encode()
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
