"""What `mail` prints and writes. Not here: the commands' arguments (mail.py)."""

from __future__ import annotations

import html as escaping
from pathlib import Path
from typing import Any

from exchange_platform.cli import output
from exchange_platform.mail.senders import MAIL_FOLDER
from exchange_platform.mail.senders.files import KeptMail, MailFolder
from exchange_platform.process.visible_text import visible
from exchange_platform.settings import Settings

_SHOWN_HEADERS = ("From", "To", "Subject", "Date", "Message-ID", "List-Unsubscribe")


class NoSuchMail(Exception):
    """No kept mail is meant by that id, or several are."""


class CannotWrite(Exception):
    """A file can't be written. The message says which, and why."""


def show_list(settings: Settings, limit: int, *, as_json: bool) -> int:
    """Print the newest mails that the embedded sender wrote."""
    folder = MailFolder(settings.data_dir / MAIL_FOLDER)
    mails = list(folder.newest(limit))
    count = folder.count()
    if as_json:
        output.print_json({"count": count, "mails": [_as_json(mail) for mail in mails]})
        return 0
    if mails:
        rows: list[tuple[Any, ...]] = [
            (mail.number, _written(mail), mail.header("To"), mail.header("Subject")) for mail in mails
        ]
        output.print_rows_table(["id", "written at", "to", "subject"], iter(rows), len(rows))
    print(f"{count:,} mails in {settings.data_dir / MAIL_FOLDER}")
    if settings.mail_sender != "files":
        print(f"Mail leaves by {settings.mail_sender} now: what is sent so is not kept here.")
    return 0


def show_one(settings: Settings, mail_id: str, *, html: Path | None, as_json: bool) -> int:
    """Print one mail, and write its HTML where that is asked for. Raises `NoSuchMail`, `CannotWrite`."""
    found = MailFolder(settings.data_dir / MAIL_FOLDER).find(mail_id)
    if not found:
        raise NoSuchMail(f"there is no mail {visible(mail_id)}; `mail` lists those that there are")
    if len(found) > 1:
        numbers = ", ".join(mail.number for mail in found[:5])
        raise NoSuchMail(f"{len(found)} mails begin with {visible(mail_id)}: {numbers}; name one of them")
    (mail,) = found
    if html is not None:
        _write(html, mail.html)
    if as_json:
        output.print_json(_as_json(mail) | {"text": mail.text, "html": mail.html})
        return 0
    for name in _SHOWN_HEADERS:
        if value := mail.header(name):
            print(f"{name + ':':<17} {visible(value)}")
    print(f"{'File:':<17} {mail.path}")
    if html is not None:
        print(f"{'HTML:':<17} {html}")
    print()
    print(visible(mail.text))
    return 0


def write_preview(settings: Settings, out: Path | None, *, as_json: bool) -> int:
    """Render every kind of mail into a folder. Raises `CannotWrite`."""
    from exchange_platform.notifications.samples import samples

    folder = out or settings.data_dir / "mail-preview"
    written: list[str] = []
    parts: list[str] = []
    for sample in samples():
        _write(folder / f"{sample.name}.html", sample.mail.html)
        _write(folder / f"{sample.name}.txt", sample.mail.text)
        written.append(sample.name)
        parts.append(
            f"<section><h2>{escaping.escape(sample.mail.subject)}</h2>"
            f'<p><a href="{sample.name}.html">{sample.name}.html</a>, <a href="{sample.name}.txt">text</a></p>'
            f'<iframe src="{sample.name}.html" sandbox title="{sample.name}"></iframe>'
            f'<iframe class="phone" src="{sample.name}.html" sandbox title="{sample.name} on a phone"></iframe></section>'
        )
    _write(folder / "index.html", _INDEX.format(sections="\n".join(parts)))
    if as_json:
        output.print_json({"folder": str(folder), "mails": written})
    else:
        print(f"{len(written)} mails in {folder}; open {folder / 'index.html'}")
    return 0


_INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Every kind of mail</title><style>
body {{ font-family: sans-serif; margin: 2em; }}
iframe {{ border: 1px solid #bbb; height: 820px; width: 640px; }}
iframe.phone {{ width: 375px; }}
</style></head><body><h1>Every kind of mail</h1>
{sections}
</body></html>
"""


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CannotWrite(f"{path} can't be written: {(error.strerror or str(error)).lower()}") from error


def _written(mail: KeptMail) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if (at := mail.written_at) is not None else ""


def _as_json(mail: KeptMail) -> dict[str, Any]:
    return {
        "id": mail.number,
        "written_at": mail.written_at,
        "from": mail.header("From"),
        "to": mail.header("To"),
        "subject": mail.header("Subject"),
        "message_id": mail.header("Message-ID"),
        "list_unsubscribe": mail.header("List-Unsubscribe") or None,
        "file": str(mail.path),
    }
