"""`tokens` and `security-events`: a token is printed once and kept nowhere, what can't be made is refused in
so many words.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from exchange_platform.cli import run
from exchange_platform.doctor.tokens import token_notes
from exchange_platform.domain.api_tokens import digest_of
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings, load_settings
from exchange_platform.stores.operational.accounts.api_tokens import MAX_LIVE, ApiTokens
from exchange_platform.stores.operational.accounts.security_events import (
    SecurityKind,
    WantedEvents,
    read_events,
)
from exchange_platform.stores.operational.database import Database
from tests.exchange_platform.betting import add_account
from tests.support.prepared import prepare_database
from tests.support.token_parts import make_token

Said = tuple[int, str, str]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    found = Database(Settings(data_dir=tmp_path).operational_database_url)
    prepare_database(found)
    add_account(found)
    return found


def _say(capsys: pytest.CaptureFixture[str], tmp_path: Path, *arguments: str) -> Said:
    status = run([*arguments, "--data-dir", str(tmp_path)])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_token_is_printed_once_listed_without_it_used_noted_and_revoked(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create = ("tokens", "create", "web", "--scope", "read", "--scope", "bet")
    status, out, err = _say(capsys, tmp_path, *create, "--account", "a1", "--expires-in", "90d")
    token = out.strip()
    assert (status, token[:4], "\n" in token) == (0, "ept_", False)
    assert len(token) >= 43
    assert token not in err
    (stored,) = ApiTokens(database).list()
    assert stored.sha256 == hashlib.sha256(token.encode()).digest() == digest_of(token)
    assert stored.expires_at_us - stored.made_at_us == 90 * 86_400_000_000
    status, out, _ = _say(capsys, tmp_path, "tokens", "list", "--json")
    assert token not in out
    (told,) = json.loads(out)["tokens"]
    assert (told["application"], told["scopes"], told["accounts"], told["state"]) == (
        "web",
        ["read", "bet"],
        ["a1"],
        "live",
    )
    _, second, _ = _say(capsys, tmp_path, *create, "--json")
    other = json.loads(second)
    assert other["token"] != token, "an application may have two: that is how one is rotated"
    assert _say(capsys, tmp_path, "tokens", "revoke", "web", "--token", told["id"])[0] == 0
    assert {one.token_id: one.state(SYSTEM_CLOCK.now_us()) for one in ApiTokens(database).list()} == {
        told["id"]: "revoked",
        other["id"]: "live",
    }
    assert "web" in _say(capsys, tmp_path, "tokens", "list")[1]
    _, out, _ = _say(capsys, tmp_path, "security-events", "--json", "--application", "web")
    assert [event["kind"] for event in json.loads(out)["security_events"]] == [
        "token_revoked",
        "token_made",
        "token_made",
    ]
    assert token not in out
    assert "token_made" in _say(capsys, tmp_path, "security-events", "--kind", "token_made")[1]


def test_a_token_that_was_drawn_elsewhere_is_known_by_its_hash_and_never_printed(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = hashlib.sha256(b"drawn-elsewhere-and-shown-to-nobody").hexdigest()
    create = ("tokens", "create", "shop", "--scope", "money", "--all-accounts", "--sha256", digest)
    assert _say(capsys, tmp_path, *create)[:2] == (0, "")
    (stored,) = ApiTokens(database).list()
    assert (stored.sha256.hex(), stored.all_accounts) == (digest, True)
    status, _, err = _say(capsys, tmp_path, *create)
    assert (status, "kept already" in err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("create", "web"), 2, "--scope"),
        (("create", "web", "--scope", "all"), 2, "operate"),
        (("create", "a b", "--scope", "read"), 1, "letters, digits"),
        (("create", "api-token", "--scope", "read"), 1, "give the application another"),
        (("create", "web", "--scope", "read", "--account", "nobody"), 1, "there is no account 'nobody'"),
        (("create", "web", "--scope", "read", "--account", "a1", "--all-accounts"), 1, "or all"),
        (("create", "web", "--scope", "read", "--expires-in", "90"), 2, "hours, days, weeks"),
        (("create", "web", "--scope", "read", "--expires-in", "731d"), 2, "1h to 730d"),
        (("create", "web", "--scope", "read", "--expires-in", "0h"), 2, "1h to 730d"),
        (("create", "web", "--scope", "read", "--sha256", "ff"), 2, "64 hexadecimal digits"),
        (("revoke", "web"), 1, "tokens list"),
        (("revoke", "web", "--token", "x"), 1, "no token x of 'web' stands"),
    ],
)
def test_what_can_not_be_is_refused_and_nothing_is_kept(
    database: Database,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    status: int,
    said: str,
) -> None:
    found, out, err = _say(capsys, tmp_path, "tokens", *arguments)
    assert (found, out) == (status, "")
    assert said in err
    assert ApiTokens(database).list() == []
    assert not read_events(database, WantedEvents(kind=SecurityKind.MADE), limit=1)


def test_a_kind_of_events_that_there_is_not_is_refused(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = _say(capsys, tmp_path, "security-events", "--kind", "logins")
    assert (status, "authentication_failed" in err) == (2, True)


def test_more_tokens_than_a_process_may_hold_are_refused(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import sqlalchemy as sa

    from exchange_platform.stores.operational.tables.security import api_tokens

    make_token(database, "web")
    with database.write() as connection:
        row = connection.execute(sa.select(api_tokens)).one()._mapping
        more = [
            {**row, "token_id": f"t{number}", "sha256": number.to_bytes(32)} for number in range(MAX_LIVE - 1)
        ]
        connection.execute(sa.insert(api_tokens), more)
    status, _, err = _say(capsys, tmp_path, "tokens", "create", "web", "--scope", "read")
    assert (status, "revoke some" in err) == (1, True)


def test_doctor_notes_the_settings_tokens_and_those_that_end_soon(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert token_notes(load_settings(tmp_path), SYSTEM_CLOCK) == ("0 live of 0 applications", "")
    make_token(database, "web", lasts_s=86_400 * 30)
    assert token_notes(load_settings(tmp_path), SYSTEM_CLOCK) == ("1 live of 1 applications", "")
    make_token(database, "web", lasts_s=86_400)
    monkeypatch.setenv("EXCHANGE_PLATFORM_API_TOKENS", "t" * 32)
    found, remedy = token_notes(load_settings(tmp_path), SYSTEM_CLOCK)
    assert "2 live of 1 applications; 1 in API_TOKENS may do everything" in found
    assert "of web ends" in found
    assert "tokens create" in remedy
    assert "t" * 32 not in found + remedy
