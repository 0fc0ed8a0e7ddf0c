"""`view_agrees`: an item of the profile view that was deleted or changed by hand is named, and
written again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from exchange_platform.operations.checks import view_agrees
from exchange_platform.operations.checks.missing import restore_view
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.dynamodb.profile_view import ProfileView, ensure_table
from exchange_platform.stores.operational.bets.profiles import Profiles
from tests.exchange_platform.operations.checks.stores import Stores


@pytest.fixture
def client(settings: Settings) -> Iterator[Any]:
    client = aws_client(settings, "dynamodb")
    yield client
    client.close()


@pytest.fixture
def view(client: Any, settings: Settings, filled: Stores) -> ProfileView:
    """A view that holds every profile."""
    ensure_table(client, settings.profiles_table)
    view = ProfileView(client, settings.profiles_table)
    for page in Profiles(filled.database).pages():
        view.put(page)
    return view


def _users(stores: Stores) -> list[str]:
    return [profile.user_id for page in Profiles(stores.database).pages() for profile in page]


def _no_wait(_seconds: float) -> None:
    return None


def _is_restored(filled: Stores, view: ProfileView, user: str) -> None:
    assert restore_view(filled.database, view, wait=_no_wait) == [user]
    assert view_agrees(filled.database, view, wait=_no_wait).passed
    assert restore_view(filled.database, view, wait=_no_wait) == []


def test_a_view_with_every_profile_agrees(filled: Stores, view: ProfileView) -> None:
    outcome = view_agrees(filled.database, view, wait=_no_wait)
    assert outcome.passed
    assert outcome.figures["users"] == len(_users(filled))


def test_a_deleted_item_is_named_and_written_again(
    filled: Stores, view: ProfileView, client: Any, settings: Settings
) -> None:
    user = _users(filled)[3]
    client.delete_item(TableName=settings.profiles_table, Key={"user_id": {"S": user}})
    outcome = view_agrees(filled.database, view, wait=_no_wait)
    assert not outcome.passed
    assert f"user {user} is not in the view" in outcome.description
    assert outcome.wrong == (user,)
    _is_restored(filled, view, user)


def test_an_item_that_was_changed_at_its_version_is_named_and_written_again(
    filled: Stores, view: ProfileView, client: Any, settings: Settings
) -> None:
    user = _users(filled)[5]
    client.update_item(
        TableName=settings.profiles_table,
        Key={"user_id": {"S": user}},
        UpdateExpression="SET balance_minor = :much",
        ExpressionAttributeValues={":much": {"N": "99999999"}},
    )
    outcome = view_agrees(filled.database, view, wait=_no_wait)
    assert not outcome.passed
    assert f"user {user} at version" in outcome.description
    _is_restored(filled, view, user)


def test_a_view_that_follows_within_seconds_agrees(filled: Stores, view: ProfileView) -> None:
    user = _users(filled)[0]
    filled.sql("UPDATE profiles SET version = version + 1 WHERE user_id = :user", user=user)

    def catch_up(_seconds: float) -> None:
        view.put(Profiles(filled.database).read([user]))

    assert view_agrees(filled.database, view, wait=catch_up).passed


def test_rounds_go_on_and_stay_at_what_is_wrong(
    filled: Stores, view: ProfileView, client: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exchange_platform.operations.checks.view.USERS_A_ROUND", 8)
    users = _users(filled)
    client.delete_item(TableName=settings.profiles_table, Key={"user_id": {"S": users[10]}})
    first = view_agrees(filled.database, view, "", wait=_no_wait)
    assert (first.passed, first.reached) == (True, users[7])
    for _ in range(2):
        second = view_agrees(filled.database, view, first.reached, wait=_no_wait)
        assert (second.passed, second.reached) == (False, first.reached)
    restore_view(filled.database, view, wait=_no_wait)
    third = view_agrees(filled.database, view, second.reached, wait=_no_wait)
    assert (third.passed, third.reached) == (True, users[15])
    last = view_agrees(filled.database, view, third.reached, wait=_no_wait)
    assert (last.passed, last.reached) == (True, "")


def test_a_table_that_is_gone_fails(
    filled: Stores, view: ProfileView, client: Any, settings: Settings
) -> None:
    client.delete_table(TableName=settings.profiles_table)
    outcome = view_agrees(filled.database, view, wait=_no_wait)
    assert not outcome.passed
    assert "its table is gone" in outcome.description
