"""The SES sender against the emulator, and what each of SES's refusals means."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from exchange_platform.mail.message import message_id
from exchange_platform.mail.sender import MessageRefused, NotSent, SenderUnavailable
from exchange_platform.mail.senders.ses import SesSender
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from tests.exchange_platform.mail.mails import outgoing

FROM = "Exchange <mail@exchange.example>"


@pytest.fixture
def ses_settings(settings: Settings) -> Settings:
    """Settings that send through the emulator's SES, from an identity that it knows."""
    ses = settings.model_copy(update={"mail_sender": "ses", "mail_from": FROM})
    client = aws_client(ses, "sesv2")
    client.create_email_identity(EmailIdentity="exchange.example")
    client.close()
    return ses


def test_ses_gets_the_whole_message(ses_settings: Settings) -> None:
    asked: list[dict[str, Any]] = []

    class Watched:
        def __init__(self) -> None:
            self.real = aws_client(ses_settings, "sesv2")

        def send_email(self, **request: Any) -> Any:
            asked.append(request)
            return self.real.send_email(**request)

        def close(self) -> None:
            self.real.close()

    sender = SesSender(ses_settings, Watched())
    sender.send(outgoing())
    sender.close()
    (request,) = asked
    own_id = message_id("bet.b1.1", FROM)
    assert request["Destination"] == {"ToAddresses": ["ann@customer.example"]}
    assert request["EmailTags"] == [{"Name": "mail_id", "Value": own_id.partition("@")[0]}]
    assert f"X-Mail-ID: {own_id}".encode() in request["Content"]["Raw"]["Data"]


class _Refusing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def send_email(self, **_: Any) -> None:
        raise self.error


def _error(code: str, message: str = "no", status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "SendEmail",
    )


@pytest.mark.parametrize(
    ("error", "reaction"),
    [
        (_error("MessageRejected", "Illegal content"), MessageRefused),
        (_error("MessageRejected", "Email address is not verified"), SenderUnavailable),
        (_error("BadRequestException", "Illegal address"), MessageRefused),
        (_error("TooManyRequestsException", status=429), SenderUnavailable),
        (_error("LimitExceededException"), SenderUnavailable),
        (_error("SendingPausedException"), SenderUnavailable),
        (_error("AccountSuspendedException"), SenderUnavailable),
        (_error("MailFromDomainNotVerifiedException"), SenderUnavailable),
        (_error("NotFoundException", "Configuration set"), SenderUnavailable),
        (_error("AccessDeniedException", status=403), SenderUnavailable),
        (_error("InternalFailure", status=500), SenderUnavailable),
        (EndpointConnectionError(endpoint_url="https://email.example"), SenderUnavailable),
    ],
)
def test_only_what_is_wrong_with_the_mail_itself_is_held_against_it(
    ses_settings: Settings, error: Exception, reaction: type[NotSent]
) -> None:
    with pytest.raises(reaction) as caught:
        SesSender(ses_settings, _Refusing(error)).send(outgoing())
    assert type(caught.value) is reaction


@contextmanager
def answering(status: int, code: str = "") -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A server in SES's place: where it is, and what it was asked. It answers so to whoever takes an address
    off the list.
    """
    asked: list[tuple[str, str]] = []

    class Ses(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._answer(200, b'{"MessageId": "1"}')

        def do_DELETE(self) -> None:
            self._answer(status, b"{}", {"x-amzn-ErrorType": code} if code else {})

        def _answer(
            self, with_status: int, body: bytes, headers: Mapping[str, str] = MappingProxyType({})
        ) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((self.command, unquote(self.path)))
            self.send_response(with_status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Ses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


LIFT, SEND = (
    ("DELETE", "/v2/email/suppression/addresses/ann@exchange.example"),
    ("POST", "/v2/email/outbound-emails"),
)


@pytest.mark.parametrize(("status", "code"), [(200, ""), (404, "NotFoundException")])
def test_an_address_that_bounced_is_taken_off_the_list_before_it_is_mailed_again(
    ses_settings: Settings, status: int, code: str
) -> None:
    with answering(status, code) as (url, asked):
        with closing(SesSender(ses_settings.model_copy(update={"aws_endpoint_url": url}))) as sender:
            sender.send(outgoing(to_address="ann@exchange.example"))
            assert asked == [SEND]
            sender.send(outgoing(to_address="ann@exchange.example", lifts_suppression=True))
        assert asked == [SEND, LIFT, SEND]


def test_without_the_permission_to_lift_the_suppression_nothing_is_sent_into_the_void(
    ses_settings: Settings,
) -> None:
    with (
        answering(403, "AccessDeniedException") as (url, asked),
        closing(SesSender(ses_settings.model_copy(update={"aws_endpoint_url": url}))) as sender,
        pytest.raises(SenderUnavailable, match="AccessDenied"),
    ):
        sender.send(outgoing(to_address="ann@exchange.example", lifts_suppression=True))
    assert SEND not in asked
