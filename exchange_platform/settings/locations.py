"""Putting a connection's address together with its password and its security. Pure. Not here: where these
come from (__init__.py).
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import URL, make_url

from exchange_platform.process.database_tls import SSL_MODES, Tls, asked_of, authorities, postgres_host

_SAYS_SSLMODE = re.compile(r"(?:^|[\s?&])sslmode\s*=", re.IGNORECASE)

_ESCAPES = "@ / ? # in a user's name or password are written %40 %2F %3F %23"
_NAME = (
    r"(?:host|hostaddr|port|dbname|user|password|passfile|service|servicefile|connect_timeout|client_encoding|options|application_name"
    r"|fallback_application_name|keepalives\w*|tcp_user_timeout|replication|channel_binding|require\w+|ssl\w*|gss\w+|krbsrvname|scram\w+"
    r"|m(?:in|ax)_protocol_version|load_balance_hosts|target_session_attrs|oauth\w+)"
)
"""libpq's parameters: it names one that it does not know, which may be the end of a password."""
_CONNINFO = re.compile(
    rf"\s*(?:{_NAME}\s*=\s*(?:'(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*)?(?:\s+|$))*", re.DOTALL
)
_QUERY = re.compile(rf"{_NAME}=[^&=]*(?:&{_NAME}=[^&=]*)*")
_PLACE = re.compile(r"[^@/:?#\[\]]*(?:\[[0-9a-fA-F:.%]*\])?(?::\d*)?")


class UnclearAddress(ValueError):
    """An address whose parts can't be distinguished. The message never holds any of it."""


def shown_url(url: str) -> str:
    """The URL without what it says of a user and a password."""
    return re.sub(r"//.*@", "//***@", url, flags=re.DOTALL)


def check_url(name: str, url: str) -> None:
    """Raise `UnclearAddress` where a password in the URL has characters that end it too early: what follows
    would be taken for the host, and shown.
    """
    rest = url.partition("//")[2]
    before, at, after = rest.partition("@")
    credentials = bool(at) and "/" not in before
    place, _, following = re.sub(r"[/?#]", "\0", after if credentials else rest, count=1).partition("\0")
    hosts = place.split(",")
    if re.search(r"\s", url) or "@" in following or not all(_PLACE.fullmatch(host) for host in hosts):
        raise UnclearAddress(
            f"{name} is no URL with a host and, if need be, a port that is a number: {_ESCAPES}"
        )


def check_database_url(name: str, url: str) -> None:
    """The same for a URL of SQLAlchemy's. Raises `UnclearAddress`."""
    try:
        parsed = make_url(url)
    except Exception:  # what it says holds what it could not read
        raise UnclearAddress(
            f"{name} is no URL such as mysql+pymysql://user:password@host/name: {_ESCAPES}"
        ) from None
    if "@" in f"{parsed.host}{parsed.database}" and parsed.get_backend_name() != "sqlite":
        raise UnclearAddress(f"{name}: its host or its database's name holds an @: {_ESCAPES}")


def check_catalog(name: str, catalog: str) -> None:
    """The same for DuckLake's `postgres:...` text, a URL or names and values. Raises `UnclearAddress`."""
    kind, _, place = catalog.partition(":")
    if kind != "postgres":
        return
    if "://" in place.partition("=")[0]:
        check_url(name, place)
        query = place.partition("?")[2]
        if query and not _QUERY.fullmatch(query):
            raise UnclearAddress(
                f"{name} is no URL of PostgreSQL's, with its parameters behind the ?: {_ESCAPES}"
            )
    elif not _CONNINFO.fullmatch(place):
        raise UnclearAddress(
            f"{name} is no list of name=value with libpq's names: a value with a space or a quote stands in single quotes, where ' and \\ have a \\ before them"
        )


def mysql_url(url: str, *, password: str | None, tls: Tls | None, ca_file: Path | None) -> str:
    """A SQLAlchemy URL with the password in it and PyMySQL told of TLS; of another database than MySQL, TLS
    is the URL's own matter.

    With `required` a server that offers no TLS is refused; `verified` checks its certificate and name as
    well, and is what a server elsewhere is asked for by default. What the URL itself says of TLS counts where
    no setting does.
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
    """DuckLake's `postgres:...` text with the password and the security in it, quoted as libpq reads it. What
    it says of `sslmode` itself counts.
    """
    kind, _, place = catalog.partition(":")
    if kind != "postgres":
        return catalog
    words = {} if password is None else {"password": password}
    if not _SAYS_SSLMODE.search(place):
        words |= postgres_security(postgres_host(place), tls=tls, ca_file=ca_file)
    return f"{kind}:{_with_words(place, words)}"


def postgres_security(host: str | None, *, tls: Tls | None, ca_file: Path | None) -> dict[str, str]:
    """What libpq is given of TLS to that host."""
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
