"""The hashes of confirmation tokens, in DynamoDB with a TTL. Not here: tokens in clear (they are nowhere at
rest), or what a used one confirms.

One item an account: a token of a newer mail takes the older one's place, and so voids it.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from enum import Enum
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from exchange_platform.settings.aws import error_code, is_transient
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.dynamodb.keyed_tables import ensure_keyed_table

TOKEN_BYTES = 32
TTL_ATTRIBUTE = "expires_at"


class TokensTableMissing(StoreUnavailable):
    """The table is not there: somebody must make it (Terraform; in its emulator `up` does)."""


class TokenState(Enum):
    """What a token that was shown is worth."""

    LIVE = "live"
    """It confirms its account."""
    EXPIRED = "expired"
    """It was the newest, and its time is over."""
    UNKNOWN = "unknown"
    """Never drawn, or voided by a newer one, or forgotten: nobody can tell."""


@dataclass(frozen=True, slots=True)
class ShownToken:
    """A token's state and, unless it is unknown, the version of the account that it was drawn for."""

    state: TokenState
    account_version: int = 0


def draw_token() -> str:
    """A fresh token: 256 random bits as 43 URL-safe characters."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def token_hash(token: str) -> str:
    """The SHA-256 of a token: all of it that is kept."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


class ConfirmationTokens:
    """The table of tokens. Thread-safe. Every call raises `StoreUnavailable`."""

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table

    def store(
        self, account_id: str, token: str, *, number: int, account_version: int, expires_at_s: int
    ) -> bool:
        """Keep a token's hash, for an account at that version; durable on return. False: a newer mail's token
        is there, this one is void.

        It voids the tokens of earlier mails. A token of the same one is kept beside it: that mail may be on
        its way twice.
        """
        key = {"account_id": {"S": account_id}}
        values = {
            ":number": {"N": str(number)},
            ":hash": {"SS": [token_hash(token)]},
            ":version": {"N": str(account_version)},
            ":expires": {"N": str(expires_at_s)},
        }
        fields = "confirmation = :number, account_version = :version, expires_at = :expires"
        replaced = self._update(
            Key=key,
            UpdateExpression=f"SET {fields}, token_sha256 = :hash REMOVE used_at",
            ConditionExpression="attribute_not_exists(account_id) OR confirmation < :number",
            ExpressionAttributeValues=values,
        )
        if replaced is not None:
            return True
        added = self._update(
            Key=key,
            UpdateExpression=f"SET {fields} ADD token_sha256 :hash",
            ConditionExpression="confirmation = :number",
            ExpressionAttributeValues=values,
        )
        return added is not None

    def use(self, account_id: str, token: str, *, now_s: int) -> ShownToken:
        """Show a token, in one conditional write that marks a live one as used.

        TTL deletes late, so the expiry is compared here. A used token still counts as live until the
        account's version has changed: whoever died between the two may press the button again, and of two who
        press it at once the account's version lets one in.
        """
        values = {":hash": {"S": token_hash(token)}, ":now": {"N": str(now_s)}}
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key={"account_id": {"S": account_id}},
                UpdateExpression="SET used_at = if_not_exists(used_at, :now)",
                ConditionExpression="contains(token_sha256, :hash) AND expires_at > :now",
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise self._translated(error) from error
            item: Any = error.response.get("Item") or {}
            if values[":hash"]["S"] in item.get("token_sha256", {}).get("SS", ()):
                return ShownToken(TokenState.EXPIRED, int(item["account_version"]["N"]))
            return ShownToken(TokenState.UNKNOWN)
        except BotoCoreError as error:
            raise self._translated(error) from error
        return ShownToken(TokenState.LIVE, int(answer["Attributes"]["account_version"]["N"]))

    def _update(self, **arguments: Any) -> Any:
        """The answer, or None where the condition does not hold."""
        try:
            return self._client.update_item(TableName=self._table, **arguments)
        except ClientError as error:
            if error_code(error) == "ConditionalCheckFailedException":
                return None
            raise self._translated(error) from error
        except BotoCoreError as error:
            raise self._translated(error) from error

    def _translated(self, error: BaseException) -> Exception:
        if error_code(error) == "ResourceNotFoundException":
            return TokensTableMissing(f"no DynamoDB table {self._table}")
        if is_transient(error) or error_code(error) == "TransactionConflictException":
            return StoreUnavailable(f"confirmation tokens: {error}")
        return error if isinstance(error, Exception) else RuntimeError(str(error))


def ensure_tokens_table(client: Any, table: str) -> None:
    """Create the table, with its TTL, unless it exists, and wait until it can be used."""
    ensure_keyed_table(client, table, "account_id")
    if ttl_attribute(client, table) != TTL_ATTRIBUTE:
        client.update_time_to_live(
            TableName=table,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": TTL_ATTRIBUTE},
        )


def ttl_attribute(client: Any, table: str) -> str | None:
    """The attribute by which the table's items expire, or None."""
    told = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    enabled = told.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
    return str(told["AttributeName"]) if enabled else None
