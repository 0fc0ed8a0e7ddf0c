"""The tokens' table: what a newer mail voids, what expires, and that nothing but hashes is there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.dynamodb.confirmation_tokens import (
    TTL_ATTRIBUTE,
    ConfirmationTokens,
    ShownToken,
    TokensTableMissing,
    TokenState,
    draw_token,
    ensure_tokens_table,
    ttl_attribute,
)

NOW_S = 1_800_000_000
LIVE, EXPIRED, UNKNOWN = (
    ShownToken(TokenState.LIVE, 7),
    ShownToken(TokenState.EXPIRED, 7),
    ShownToken(TokenState.UNKNOWN),
)


@pytest.fixture
def tokens(settings: Settings) -> Iterator[ConfirmationTokens]:
    client = aws_client(settings, "dynamodb")
    ensure_tokens_table(client, settings.tokens_table)
    yield ConfirmationTokens(client, settings.tokens_table)
    client.close()


def _store(tokens: ConfirmationTokens, token: str, number: int) -> bool:
    return tokens.store("ann", token, number=number, account_version=7, expires_at_s=NOW_S + 60)


def test_the_table_is_made_with_its_ttl_and_making_it_again_changes_nothing(settings: Settings) -> None:
    client = aws_client(settings, "dynamodb")
    for _ in range(2):
        ensure_tokens_table(client, settings.tokens_table)
        assert ttl_attribute(client, settings.tokens_table) == TTL_ATTRIBUTE


def test_a_stored_token_is_live_until_the_second_of_its_expiry(tokens: ConfirmationTokens) -> None:
    token = draw_token()
    assert _store(tokens, token, 1)
    assert tokens.use("ann", token, now_s=NOW_S) == LIVE
    assert tokens.use("ann", token, now_s=NOW_S + 59) == LIVE
    assert tokens.use("ann", token, now_s=NOW_S + 60) == EXPIRED


def test_a_token_is_its_account_s_alone(tokens: ConfirmationTokens) -> None:
    token = draw_token()
    _store(tokens, token, 1)
    assert tokens.use("bob", token, now_s=NOW_S) == UNKNOWN
    assert tokens.use("ann", draw_token(), now_s=NOW_S) == UNKNOWN
    assert tokens.use("ann", token[:-1], now_s=NOW_S) == UNKNOWN
    assert tokens.use("ann", "\ud800", now_s=NOW_S) == UNKNOWN


def test_a_newer_mail_s_token_voids_the_older_and_never_the_other_way_round(
    tokens: ConfirmationTokens,
) -> None:
    older, newer = draw_token(), draw_token()
    assert _store(tokens, older, 1)
    assert _store(tokens, newer, 2)
    assert not _store(tokens, draw_token(), 1)
    assert tokens.use("ann", older, now_s=NOW_S) == UNKNOWN
    assert tokens.use("ann", newer, now_s=NOW_S) == LIVE


def test_the_tokens_of_one_mail_that_left_twice_are_both_live(tokens: ConfirmationTokens) -> None:
    first, second = draw_token(), draw_token()
    assert _store(tokens, first, 1)
    assert _store(tokens, second, 1)
    assert tokens.use("ann", first, now_s=NOW_S) == LIVE
    assert tokens.use("ann", second, now_s=NOW_S) == LIVE


def test_tokens_are_256_random_bits() -> None:
    drawn = {draw_token() for _ in range(1000)}
    assert len(drawn) == 1000
    assert {len(token) for token in drawn} == {43}
    assert all(len({token[place] for token in drawn}) > 30 for place in range(42))


def test_a_missing_table_and_an_emulator_that_is_away_are_told_as_passing(settings: Settings) -> None:
    missing = ConfirmationTokens(aws_client(settings, "dynamodb"), "no-such-table")
    with pytest.raises(TokensTableMissing):
        missing.use("ann", draw_token(), now_s=NOW_S)
    away = settings.model_copy(update={"aws_endpoint_url": "http://127.0.0.1:9"})
    nobody = ConfirmationTokens(aws_client(away, "dynamodb"), away.tokens_table)
    with pytest.raises(StoreUnavailable):
        nobody.use("ann", draw_token(), now_s=NOW_S)
    with pytest.raises(StoreUnavailable):
        _store(nobody, draw_token(), 1)
