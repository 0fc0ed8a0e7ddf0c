"""Signed links by which a mail's reader changes which mail comes, without a login. Not here: the pages that
they open (api/).

A link names an account and carries an HMAC of it: it can't be guessed, does not expire (a mail may be read
years later), and lets nobody do more than choose the account's mail.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from exchange_platform.settings import InvalidSettings, Settings

KEY_FILE = "mail.key"
MIN_KEY_BYTES = 32
_PURPOSE = b"exchange-platform/mail-preferences/1\0"


class PreferenceLinks:
    """Makes the links and reads them. Thread-safe."""

    def __init__(self, keys: tuple[bytes, ...], public_url: str) -> None:
        """`keys`: the first signs, any of them is accepted, so that a key can be replaced."""
        self._keys = keys
        self._public_url = public_url.rstrip("/")

    @classmethod
    def from_settings(cls, settings: Settings) -> PreferenceLinks:
        """With the configured keys, or the data directory's own, which is drawn where there is none. Raises
        `InvalidSettings`.
        """
        return cls(_keys(settings), settings.public_base_url)

    def token(self, account_id: str) -> str:
        """What shows that its bearer was sent a mail of this account."""
        return f"{account_id}.{_signature(self._keys[0], account_id)}"

    def url(self, account_id: str) -> str:
        """The address for `List-Unsubscribe` (a POST there unsubscribes: RFC 8058) and for people (a GET
        shows the choice).
        """
        return f"{self._public_url}/unsubscribe?token={self.token(account_id)}"

    def account_id(self, token: str) -> str | None:
        """The account that the token was made for; None if it was not made here. Takes as long either way."""
        account_id, _, signature = token.rpartition(".")
        shown = signature.encode("utf-8", "replace")
        matches = [
            hmac.compare_digest(shown, _signature(key, account_id).encode("ascii")) for key in self._keys
        ]
        return account_id if any(matches) else None


def _signature(key: bytes, account_id: str) -> str:
    digest = hmac.digest(key, _PURPOSE + account_id.encode("utf-8", "replace"), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")


def _keys(settings: Settings) -> tuple[bytes, ...]:
    if settings.mail_key is None:
        return (_own_key(settings.data_dir / KEY_FILE),)
    keys = tuple(
        one.strip().encode() for one in settings.mail_key.get_secret_value().split(",") if one.strip()
    )
    if not keys or any(len(key) < MIN_KEY_BYTES for key in keys):
        raise InvalidSettings(
            f"mail_key: each key has {MIN_KEY_BYTES} characters at least (keys are separated by commas; the first signs)"
        )
    return keys


def _own_key(path: Path) -> bytes:
    """The key in the file, made first where there is none; of several processes one makes it. Readable by its
    owner only.
    """
    try:
        return _read_key(path)
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(MIN_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)  # whole or not at all, and never over another's
    finally:
        Path(fresh).unlink()
    return _read_key(path)


def _read_key(path: Path) -> bytes:
    key = path.read_bytes().strip()
    if len(key) < MIN_KEY_BYTES:
        raise InvalidSettings(
            f"{path} holds {len(key)} bytes, a key has {MIN_KEY_BYTES} at least: delete it to have a new one (links in mails"
            " sent so far then stop working), or restore it"
        )
    return key
