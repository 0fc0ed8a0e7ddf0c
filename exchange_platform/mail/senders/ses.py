"""Mail through Amazon SES v2. Not here: what SES says later of bounces and complaints (confirmation of
accounts).

SES gives a mail a Message-ID of its own; ours stays in the header `X-Mail-ID` and in the tag `mail_id`, which
SES's events carry.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from exchange_platform.mail.message import (
    InvalidMail,
    OutgoingMail,
    compose,
    message_id,
    recipient,
    sender_address,
    wire_bytes,
)
from exchange_platform.mail.sender import MessageRefused, NotSent, SenderUnavailable
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client, error_code, is_transient

# https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html#API_SendEmail_Errors
_NOT_SUPPRESSED = "NotFoundException"
_REFUSED = frozenset({"MessageRejected", "BadRequestException", "InvalidParameterValue"})


class SesSender:
    """Sends by SES's `SendEmail` with raw content."""

    def __init__(self, settings: Settings, client: Any = None) -> None:
        self._settings = settings
        self._client = client if client is not None else aws_client(settings, "sesv2")

    def send(self, mail: OutgoingMail) -> None:
        """Have SES take the mail. Raises `NotSent`."""
        own_id = message_id(mail.mail_id, self._settings.mail_from)
        try:
            message = compose(mail, self._settings.mail_from)
            message["X-Mail-ID"] = own_id
            data = wire_bytes(message)
        except InvalidMail as error:
            raise MessageRefused(str(error)) from None
        sender = sender_address(self._settings.mail_from)
        request: dict[str, Any] = {
            "FromEmailAddress": str(sender) if sender.display_name.isascii() else sender.addr_spec,
            "Destination": {"ToAddresses": [recipient(mail).addr_spec]},
            "Content": {"Raw": {"Data": data}},
            "EmailTags": [{"Name": "mail_id", "Value": own_id.partition("@")[0]}],
        }
        if self._settings.ses_configuration_set is not None:
            request["ConfigurationSetName"] = self._settings.ses_configuration_set
        try:
            if mail.lifts_suppression:
                self._lift_suppression(recipient(mail).addr_spec)
            self._client.send_email(**request)
        except (ClientError, BotoCoreError) as error:
            raise _reaction(error) from error

    def _lift_suppression(self, address: str) -> None:
        """SES takes mail to an address that bounced, and drops it, until the address is off the account's
        list.
        """
        try:
            self._client.delete_suppressed_destination(EmailAddress=address)
        except ClientError as error:
            if error_code(error) != _NOT_SUPPRESSED:
                raise

    def close(self) -> None:
        """Close the client's connections."""
        self._client.close()


def _reaction(error: ClientError | BotoCoreError) -> NotSent:
    text = f"SES: {error_code(error)}: {' '.join(str(error).split())[:300]}"
    if not is_transient(error) and error_code(error) in _REFUSED:
        # An unverified identity of ours comes as MessageRejected too (in the sandbox, and with v1's name).
        if "not verified" in str(error):
            return SenderUnavailable(text)
        return MessageRefused(text)
    # Throttled, paused, no permission, an unverified domain, a missing configuration set: no mail is to
    # blame.
    return SenderUnavailable(text)
