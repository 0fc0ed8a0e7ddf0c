"""The commands that show mails: of the embedded sender, and of every kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exchange_platform.cli import run
from exchange_platform.mail.senders.files import FileSender
from tests.exchange_platform.mail.mails import outgoing


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Status, output and errors of a command."""
    status = run(list(arguments))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_mails_of_the_embedded_sender_are_listed_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sender = FileSender(tmp_path / "mail", "Exchange <mail@exchange.example>")
    sender.send(outgoing("bet.b1.1"))
    sender.send(outgoing("bet.b2.1", subject="Bet lapsed"))
    status, output, _ = call(capsys, "mail", "--data-dir", str(tmp_path), "--json")
    told = json.loads(output)
    assert (status, told["count"]) == (0, 2)
    number = next(mail["id"] for mail in told["mails"] if mail["subject"] == "Bet lapsed")
    status, output, _ = call(capsys, "mail", "--data-dir", str(tmp_path))
    assert status == 0
    assert number in output
    page = tmp_path / "page.html"
    status, output, _ = call(
        capsys, "mail", "show", number[:8], "--data-dir", str(tmp_path), "--html", str(page)
    )
    assert status == 0
    assert "Subject:          Bet lapsed" in output
    assert "Your bet of £10.00 is matched.\n" in output
    assert "\\r" not in output
    assert "<p>Your bet" in page.read_text()
    status, output, _ = call(capsys, "mail", "show", number, "--data-dir", str(tmp_path), "--json")
    assert json.loads(output)["html"].startswith("<p>Your bet")


@pytest.mark.parametrize("number", ["nothing", "../..", "%1b[31m"])
def test_a_mail_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: str
) -> None:
    status, output, errors = call(capsys, "mail", "show", number, "--data-dir", str(tmp_path))
    assert (status, output) == (1, "")
    assert errors.startswith("exchange-platform: there is no mail")
    assert errors.count("\n") == 1


def test_every_kind_of_mail_is_written_for_a_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "preview"
    status, output, _ = call(
        capsys, "mail", "preview", "--out", str(folder), "--data-dir", str(tmp_path), "--json"
    )
    names = json.loads(output)["mails"]
    assert status == 0
    assert {"won", "digest", "confirmation"} <= set(names)
    assert {path.name for path in folder.iterdir()} == {
        "index.html",
        *(f"{name}.{kind}" for name in names for kind in ("html", "txt")),
    }
    (tmp_path / "file").write_text("")
    status, _, errors = call(
        capsys, "mail", "preview", "--out", str(tmp_path / "file"), "--data-dir", str(tmp_path)
    )
    assert status == 1
    assert "can't be written" in errors
