"""The profile view in DynamoDB: what applications read of a user, by key. Not here: where the figures come
from (profiles.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from exchange_platform.process.decoders import converter, json_decoder
from exchange_platform.settings.aws import error_code, is_transient
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.dynamodb.keyed_tables import ensure_keyed_table
from exchange_platform.stores.operational.bets.profiles import LastBet, Profile

TRANSACTION_LIMIT = 100
"""Items in one TransactWriteItems call: the API's most."""

_encoder = msgspec.json.Encoder()
_profile_of = converter(Profile)
_decoder = json_decoder(tuple[LastBet, ...])

_NEWER = "attribute_not_exists(user_id) OR #version < :version"
_NOT_OLDER = "attribute_not_exists(user_id) OR #version <= :version"
_GET_LIMIT = 100
"""Items in one BatchGetItem call: the API's most."""
_GET_TRIES = 20


_TRANSIENT = frozenset(
    {
        "None",
        "TransactionConflict",
        "ProvisionedThroughputExceeded",
        "ThrottlingError",
        "DuplicateRequest",
        "InternalServerError",
    }
)
"""Why an item of a transaction was not written, for which the same may go through later; None is an item that
is well itself.
"""
_ITEM_REFUSED = frozenset({"ValidationError", "ItemCollectionSizeLimitExceeded"})


class ProfileRefused(ValueError):
    """The view will never take an item: it is too large, or not what the table's keys ask for."""


class ProfileViewMissing(Exception):
    """The table is not there (any more): make it and fill it again."""


class ProfileView:
    """One item a user, replaced only by a newer version of that user's profile: writers may race, repeat or
    lag.
    """

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table

    def put(self, profiles: Sequence[Profile]) -> int:
        """Write the profiles that are newer than what the view has; returns how many those were.

        Durable on return. Raises `StoreUnavailable` (some may have been written: put them all again) and
        `ProfileViewMissing`.
        """
        written = 0
        for start in range(0, len(profiles), TRANSACTION_LIMIT):
            written += self._put_some(profiles[start : start + TRANSACTION_LIMIT], _NEWER)
        return written

    def replace(self, profiles: Sequence[Profile]) -> int:
        """As `put`, and also in place of items of the same version, which somebody else must have changed."""
        written = 0
        for start in range(0, len(profiles), TRANSACTION_LIMIT):
            written += self._put_some(profiles[start : start + TRANSACTION_LIMIT], _NOT_OLDER)
        return written

    def get_many(self, user_ids: Sequence[str]) -> dict[str, Profile]:
        """The items of these users, those that exist, by user. Read consistently. Raises `StoreUnavailable`
        and `ProfileViewMissing`.
        """
        found: dict[str, Profile] = {}
        for start in range(0, len(user_ids), _GET_LIMIT):
            keys = [{"user_id": {"S": user}} for user in user_ids[start : start + _GET_LIMIT]]
            waiting: Any = {self._table: {"Keys": keys, "ConsistentRead": True}}
            for _ in range(_GET_TRIES):
                try:
                    answer = self._client.batch_get_item(RequestItems=waiting)
                except (ClientError, BotoCoreError) as error:
                    raise self._translated(error) from error
                for item in answer["Responses"].get(self._table, ()):
                    found[item["user_id"]["S"]] = _profile(item)
                waiting = answer.get("UnprocessedKeys")
                if not waiting:
                    break
            else:
                raise StoreUnavailable("profile view: its reads are throttled")
        return found

    def get(self, user_id: str) -> Profile | None:
        """The user's item, or None. Read consistently. Raises `StoreUnavailable` and `ProfileViewMissing`."""
        try:
            answer = self._client.get_item(
                TableName=self._table, Key={"user_id": {"S": user_id}}, ConsistentRead=True
            )
        except (ClientError, BotoCoreError) as error:
            raise self._translated(error) from error
        item = answer.get("Item")
        if item is None:
            return None
        return _profile(item)

    def _put_some(self, profiles: Sequence[Profile], condition: str) -> int:
        waiting = list(profiles)
        while waiting:
            try:
                self._client.transact_write_items(
                    TransactItems=[self._put_request(item, condition) for item in waiting]
                )
                return len(waiting)
            except self._client.exceptions.TransactionCanceledException as error:
                reasons = [reason.get("Code") for reason in error.response.get("CancellationReasons", ())]
                kept = [
                    profile
                    for profile, code in zip(waiting, reasons, strict=False)
                    if code != "ConditionalCheckFailed"
                ]
                if len(kept) == len(waiting):
                    if not _TRANSIENT.issuperset(map(str, reasons)):
                        raise _refusal(error, reasons) from error
                    raise StoreUnavailable(
                        f"profile view: transaction cancelled: {sorted(set(map(str, reasons)))}"
                    ) from error
                waiting = kept
            except (ClientError, BotoCoreError) as error:
                raise self._translated(error) from error
        return 0

    def _put_request(self, profile: Profile, condition: str) -> dict[str, Any]:
        return {
            "Put": {
                "TableName": self._table,
                "Item": _item(profile),
                "ConditionExpression": condition,
                "ExpressionAttributeNames": {"#version": "version"},
                "ExpressionAttributeValues": {":version": {"N": str(profile.version)}},
            }
        }

    def _translated(self, error: BaseException) -> Exception:
        if error_code(error) == "ResourceNotFoundException":
            return ProfileViewMissing(f"no DynamoDB table {self._table}")
        if is_transient(error) or error_code(error) == "TransactionInProgressException":
            return StoreUnavailable(f"profile view: {error}")
        return error if isinstance(error, Exception) else RuntimeError(str(error))


def _refusal(error: Exception, reasons: Sequence[str | None]) -> Exception:
    """Of a transaction that was cancelled for good: the items' fault, or (denied, say) nobody's that is
    known.
    """
    if not _ITEM_REFUSED.isdisjoint(map(str, reasons)):
        return ProfileRefused(f"profile view: transaction cancelled: {sorted(set(map(str, reasons)))}")
    return error


def ensure_table(client: Any, table: str) -> None:
    """Create the view's table unless it exists, and wait until it can be used."""
    ensure_keyed_table(client, table, "user_id")


def _item(profile: Profile) -> dict[str, dict[str, str]]:
    """The profile as an item: numbers and strings; the newest bets as one JSON string, read and written
    whole.
    """
    item: dict[str, dict[str, str]] = {"last_bets": {"S": _encoder.encode(profile.last_bets).decode()}}
    for name in Profile.__struct_fields__:
        value = getattr(profile, name)
        if isinstance(value, int):
            item[name] = {"N": str(value)}
        elif isinstance(value, str):
            item[name] = {"S": value}
    return item


def _profile(item: dict[str, dict[str, str]]) -> Profile:
    values: dict[str, Any] = {"last_bet_at_us": None}
    for name, typed in item.items():
        ((kind, text),) = typed.items()
        values[name] = int(text) if kind == "N" else text
    values["last_bets"] = _decoder.decode(values["last_bets"])
    return _profile_of(values)
