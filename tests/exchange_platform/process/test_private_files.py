"""Nobody else on the machine reads the data directory: new files are private, and what an older release left
is tightened.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from exchange_platform.cli import run
from exchange_platform.local.running import CannotStart, data_dir_held, write_api_file
from exchange_platform.process.private_files import API_FILE, looser, tighten
from exchange_platform.settings import Settings
from tests.support.prepared import prepare


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def all_of(directory: Path) -> list[Path]:
    return [directory, *directory.rglob("*")]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A data directory as an older release left it: everybody may read it."""
    data_dir = tmp_path / "data"
    prepare(Settings(data_dir=data_dir))
    (data_dir / "operational.sqlite-wal").touch()
    for path in all_of(data_dir):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return data_dir


def test_what_migrate_makes_is_its_owners_alone(tmp_path: Path) -> None:
    """Balances and addresses were readable by every user of the machine."""
    data_dir = tmp_path / "open" / "data"
    data_dir.parent.mkdir(mode=0o755)
    command = [sys.executable, "-m", "exchange_platform", "migrate", "--data-dir", str(data_dir)]
    subprocess.run(command, check=True, capture_output=True, umask=0o022)
    made = all_of(data_dir)
    assert data_dir / "operational.sqlite" in made
    assert data_dir / "lake" / "catalog.sqlite" in made
    assert {oct(mode(path)) for path in made if path.is_dir()} == {"0o700"}
    assert {oct(mode(path)) for path in made if path.is_file()} == {"0o600"}


def test_a_directory_of_an_older_release_is_tightened_when_up_takes_it_and_when_it_is_migrated(
    old: Path,
) -> None:
    with data_dir_held(old):
        assert not [path for path in all_of(old) if mode(path) & 0o077 and path.name != "up.lock"]
    (old / "operational.sqlite").chmod(0o644)
    assert run(["migrate", "--data-dir", str(old)]) == 0
    assert not [path for path in all_of(old) if mode(path) & 0o077]


def test_doctor_says_what_others_may_read_and_how_to_take_that_away(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", "--json", "--data-dir", str(old)]) == 1
    (finding,) = [
        one for one in json.loads(capsys.readouterr().out)["checks"] if one["part"] == "permissions"
    ]
    assert finding["level"] == "wrong"
    assert str(old) in finding["found"]
    assert "migrate" in finding["remedy"]
    tighten(old)
    assert run(["doctor", "--json", "--data-dir", str(old)]) == 0


def test_a_private_directory_lets_nobody_at_what_is_in_it(old: Path) -> None:
    assert len(looser(old)) > 3
    old.chmod(0o700)
    assert looser(old) == []


def test_what_is_not_the_platforms_and_what_a_link_names_keep_their_permissions(
    old: Path, tmp_path: Path
) -> None:
    other, elsewhere = old / "thesis.odt", tmp_path / "elsewhere"
    other.touch(mode=0o644)
    elsewhere.touch(mode=0o644)
    (old / "lake" / "link").symlink_to(elsewhere)
    (old / "mail").mkdir(exist_ok=True)
    (old / "mail" / "folder").symlink_to(tmp_path)
    before = mode(tmp_path)
    tighten(old)
    assert (mode(other), mode(elsewhere), mode(tmp_path)) == (0o644, 0o644, before)


def test_a_directory_that_everybody_uses_stays_open(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old.chmod(0o1777)
    tighten(old)
    assert mode(old) == 0o1777
    assert mode(old / "operational.sqlite") == 0o600
    old.chmod(0o755)
    monkeypatch.setenv("HOME", str(old))
    tighten(old)
    assert mode(old) == 0o755


def test_no_directory_is_nothing_to_tighten(tmp_path: Path) -> None:
    assert tighten(tmp_path / "none") == 0
    assert looser(tmp_path / "none") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user for a moment")
def test_another_users_process_reads_nothing(old: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.is_relative_to(Path("/tmp/pytest-of-root")):
            parent.chmod(0o755)
    reading = ["cat", str(old / "operational.sqlite")]
    assert subprocess.run(reading, user=65534, capture_output=True, check=False).returncode == 0
    tighten(old)
    assert subprocess.run(reading, user=65534, capture_output=True, check=False).returncode != 0


def test_up_takes_no_directory_that_another_user_owns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if owner == 0:
        os.chown(tmp_path, 65534, -1)
    with pytest.raises(CannotStart, match="another user's"), data_dir_held(tmp_path):
        pass


def test_migrate_changes_nothing_in_a_directory_that_another_user_owns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if owner == 0:
        os.chown(tmp_path, 65534, -1)
    assert run(["migrate", "--data-dir", str(tmp_path)]) == 1
    assert "another user's" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_no_link_in_the_way_of_a_private_file_is_followed(tmp_path: Path) -> None:
    """A token went into whatever file a link of the expected name pointed to."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("untouched")
    for name in ("api.new", API_FILE):
        (tmp_path / name).symlink_to(elsewhere)
    write_api_file(tmp_path, "http://127.0.0.1:1")
    assert elsewhere.read_text() == "untouched"
    assert not (tmp_path / API_FILE).is_symlink()
    assert mode(tmp_path / API_FILE) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", "api.new", API_FILE}
