"""The SES sender against the emulator, and what each of SES's refusals means."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from exchange_platform.aws import aws_client
from exchange_platform.mail.message import message_id
from exchange_platform.mail.sender import MessageRefused, NotSent, SenderUnavailable
from exchange_platform.mail.senders.ses import SesSender
from exchange_platform.settings import Settings
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
