"""Signed links to the mail preferences: only ours are read, and the key stays what it is."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from exchange_platform.notifications.unsubscribing import KEY_FILE, PreferenceLinks
from exchange_platform.settings import InvalidSettings, Settings

LINKS = PreferenceLinks((b"k" * 32,), "https://bets.example/")


def test_a_link_names_its_account_and_is_read_back() -> None:
    url = LINKS.url("an-account")
    assert url.startswith("https://bets.example/unsubscribe?token=an-account.")
    assert LINKS.account_id(url.partition("token=")[2]) == "an-account"


@given(st.one_of(st.text(max_size=120), st.binary(max_size=32).map(lambda raw: f"an-account.{raw.hex()}")))
def test_nothing_else_is_read_as_a_link(text: str) -> None:
    assert LINKS.account_id(text) is None


def test_a_link_is_of_its_account_and_key_alone() -> None:
    token = LINKS.token("an-account")
    assert LINKS.account_id(token.replace("an-account", "another-account")) is None
    assert PreferenceLinks((b"l" * 32,), "").account_id(token) is None
    for place in range(len(token)):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        # The last character of 43 carries two bits that say nothing; all others count.
        assert place == len(token) - 1 or LINKS.account_id(changed) is None


def test_a_key_is_replaced_without_voiding_the_links_of_the_old_one() -> None:
    both = Settings(mail_key=SecretStr(f"{'n' * 32}, {'o' * 32}"))
    old = PreferenceLinks((b"o" * 32,), "")
    links = PreferenceLinks.from_settings(both)
    assert links.account_id(old.token("an-account")) == "an-account"
    assert links.token("an-account") == PreferenceLinks((b"n" * 32,), "").token("an-account")


@pytest.mark.parametrize("key", ["short", f"{'n' * 32},short", ","])
def test_a_key_that_could_be_guessed_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(InvalidSettings, match="32 characters") as refused:
        PreferenceLinks.from_settings(Settings(mail_key=SecretStr(key)))
    assert "short" not in str(refused.value)


def test_the_data_directory_s_own_key_is_drawn_once_by_whoever_comes_first(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    tokens: list[str] = []
    together = threading.Barrier(8)

    def draw() -> None:
        together.wait()
        tokens.append(PreferenceLinks.from_settings(settings).token("an-account"))

    threads = [threading.Thread(target=draw) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 8
    assert len(set(tokens)) == 1
    assert os.listdir(settings.data_dir) == [KEY_FILE]  # noqa: PTH208
    assert stat.S_IMODE((settings.data_dir / KEY_FILE).stat().st_mode) == 0o600


def test_a_damaged_key_file_is_told_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("cut")
    with pytest.raises(InvalidSettings, match="delete it"):
        PreferenceLinks.from_settings(Settings(data_dir=tmp_path))
    assert (tmp_path / KEY_FILE).read_text() == "cut"
