"""Putting a connection's address together with its password and its security. Pure. Not here: where these come from (settings.py)."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import URL, make_url

from exchange_platform.database_tls import SSL_MODES, Tls, asked_of, authorities, postgres_host

_SAYS_SSLMODE = re.compile(r"(?:^|[\s?&])sslmode\s*=", re.IGNORECASE)


def mysql_url(url: str, *, password: str | None, tls: Tls | None, ca_file: Path | None) -> str:
    """A SQLAlchemy URL with the password in it and PyMySQL told of TLS; of another database than MySQL, TLS is the URL's own matter.

    With `required` a server that offers no TLS is refused; `verified` checks its certificate and name as well, and is what a server elsewhere
    is asked for by default. What the URL itself says of TLS counts where no setting does.
    """
    parsed = make_url(url)
    if password is not None:
        parsed = parsed.set(password=password)
    if parsed.get_backend_name() in ("mysql", "mariadb"):
        parsed = _secured(parsed, tls, ca_file)
    return parsed.render_as_string(hide_password=False)


def _secured(url: URL, tls: Tls | None, ca_file: Path | None) -> URL:
    if tls is None and any(key.startswith("ssl") for key in url.query):
        return url
    asked = asked_of(None if "unix_socket" in url.query else url.host, tls)
    if asked == "verified":
        return url.update_query_dict({"ssl_ca": authorities(ca_file), "ssl_check_hostname": "true"})
    if asked == "required":
        # Without an authority PyMySQL encrypts and checks nothing; this one key is what makes it insist.
        return url.update_query_dict({"ssl_check_hostname": "false"})
    return url


def postgres_catalog(
    catalog: str, password: str | None, *, tls: Tls | None = None, ca_file: Path | None = None
) -> str:
    """DuckLake's `postgres:...` text with the password and the security in it, quoted as libpq reads it. What it says of `sslmode` itself counts."""
    kind, _, place = catalog.partition(":")
    if kind != "postgres":
        return catalog
    words = {} if password is None else {"password": password}
    if not _SAYS_SSLMODE.search(place):
        words |= postgres_security(postgres_host(place), tls=tls, ca_file=ca_file)
    return f"{kind}:{_with_words(place, words)}"


def postgres_security(host: str | None, *, tls: Tls | None, ca_file: Path | None) -> dict[str, str]:
    """What libpq is told of TLS to that host."""
    asked = asked_of(host, tls)
    if asked is None:
        return {}
    told = {"sslmode": SSL_MODES[asked]}
    return told | {"sslrootcert": authorities(ca_file)} if asked == "verified" else told


def _with_words(place: str, words: dict[str, str]) -> str:
    if not words:
        return place
    if "://" in place:
        added = "&".join(f"{key}={quote(value, safe='')}" for key, value in words.items())
        return f"{place}{'&' if '?' in place else '?'}{added}"
    return " ".join([place, *(f"{key}={_quoted(value)}" for key, value in words.items())])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
