"""The embedded sender: a file a mail, whole or not there, found again by its number."""

from __future__ import annotations

from pathlib import Path

import pytest

from exchange_platform.mail.sender import MessageRefused, SenderUnavailable
from exchange_platform.mail.senders.files import FileSender, MailFolder
from tests.exchange_platform.mail.mails import outgoing

FROM = "Exchange <mail@exchange.example>"


def test_a_mail_is_a_file_that_can_be_read_back(tmp_path: Path) -> None:
    sender = FileSender(tmp_path / "mail", FROM)
    sender.send(outgoing("bet.b1.1"))
    sender.send(outgoing("bet.b2.1", subject="Another"))
    folder = MailFolder(tmp_path / "mail")
    assert folder.count() == 2
    found = list(folder.newest())
    assert {mail.header("Subject") for mail in found} == {"Bet matched: £10.00", "Another"}
    (same,) = folder.find(found[0].number[:6])
    assert same.path == found[0].path
    assert "£10.00" in same.text
    assert same.html.startswith("<p>")
    assert same.written_at == outgoing().written_at.replace(microsecond=0)
    assert (tmp_path / "mail").stat().st_mode & 0o077 == 0


def test_a_mail_that_is_sent_again_replaces_itself(tmp_path: Path) -> None:
    sender = FileSender(tmp_path, FROM)
    sender.send(outgoing())
    sender.send(outgoing())
    assert [path.suffix for path in tmp_path.iterdir()] == [".eml"]
    assert MailFolder(tmp_path).count() == 1


def test_a_folder_that_can_not_be_written_blames_no_mail(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("a file, and no folder")
    with pytest.raises(SenderUnavailable, match="can't be written"):
        FileSender(tmp_path / "mail", FROM).send(outgoing())
    with pytest.raises(MessageRefused):
        FileSender(tmp_path, FROM).send(outgoing(to_address="nobody"))


def test_a_number_is_never_a_path(tmp_path: Path) -> None:
    folder = MailFolder(tmp_path / "mail")
    for number in ("", "../x", "*", "a/b", "?"):
        assert folder.find(number) == []
    assert folder.count() == 0
    assert list(folder.newest()) == []
