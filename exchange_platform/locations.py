"""Putting a connection's address together with its password and its security. Pure. Not here: where these come from (settings.py)."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import make_url


def mysql_url(url: str, *, password: str | None, tls: str, ca_file: Path | None) -> str:
    """A SQLAlchemy URL with the password in it and PyMySQL told of TLS; of another database than MySQL, TLS is the URL's own matter.

    With `required` a server that offers no TLS is refused; `verified` checks its certificate and name as well.
    """
    if password is None and tls == "preferred":
        return url
    parsed = make_url(url)
    if password is not None:
        parsed = parsed.set(password=password)
    if parsed.get_backend_name() == "mysql":
        if tls == "verified":
            parsed = parsed.update_query_dict({"ssl_ca": str(ca_file), "ssl_check_hostname": "true"})
        elif tls == "required":
            # Without an authority PyMySQL encrypts and checks nothing; this one key is what makes it insist.
            parsed = parsed.update_query_dict({"ssl_check_hostname": "false"})
    return parsed.render_as_string(hide_password=False)


def postgres_catalog(catalog: str, password: str | None) -> str:
    """DuckLake's `postgres:...` text with the password in it, quoted as libpq reads it."""
    if password is None:
        return catalog
    quoted = password.replace("\\", "\\\\").replace("'", "\\'")
    return f"{catalog} password='{quoted}'"
