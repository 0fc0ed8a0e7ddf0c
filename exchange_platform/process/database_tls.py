"""How connections to the databases' servers are secured: which certificate is asked for, and whose signature
on it is believed.

A server that is not this machine shows a certificate with its own name, signed by an authority that is known
here, unless a setting says otherwise. Putting that into a connection's address is locations.py's.
"""

from __future__ import annotations

import atexit
import ipaddress
import os
import re
import shutil
import ssl
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

Tls = Literal["preferred", "required", "verified"]

SSL_MODES: Mapping[Tls, str] = {"preferred": "prefer", "required": "require", "verified": "verify-full"}
"""The same in libpq's words."""

REMEDY = (
    "DATABASE_CA_FILE or DATABASE_CA hold the certificates of the authority that signed the server's,"
    " and DATABASE_TLS says what is asked of it (docs/configuration.md)"
)
_DISTRUST = (
    "certificate verify failed",
    "does not match host name",
    "root certificate file",
    "could not load root certificate",
    "SSL is required",
    "does not support SSL",
)
_HOST = re.compile(r"(?:^|\s)(host|hostaddr|service)\s*=\s*('(?:[^'\\]|\\.)*'|\S*)", re.IGNORECASE)
_URI_HOST = re.compile(r"^postgres(?:ql)?://(?:[^@/]*@)?([^/?]*)", re.IGNORECASE)


def is_this_machine(host: str | None) -> bool:
    """Whether a connection to that host can't leave this machine: nothing, a socket's path, `localhost`, a
    loopback address.
    """
    if not host or host.startswith(("/", "@")):
        return True
    name = host.strip("[]").rstrip(".").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def asked_of(host: str | None, tls: Tls | None) -> Tls | None:
    """What is asked of a server; None where nothing is: on this machine, unless a setting asks for
    something.
    """
    return tls or (None if is_this_machine(host) else "verified")


def postgres_host(place: str) -> str | None:
    """A host of libpq's text or URI, one elsewhere if there is any; None on this machine. What `service=`
    leads to counts as elsewhere.
    """
    uri = _URI_HOST.match(place)
    hosts: list[str] = []
    if uri is not None:
        hosts = [_without_port(one) for one in uri[1].split(",")]
        place = place.partition("?")[2].replace("&", " ")
    for key, text in _HOST.findall(place):
        if key.lower() == "service":
            return f"service {text}"
        hosts += re.sub(r"\\(.)", r"\1", text.strip("'")).split(",")
    if not any(hosts):
        hosts = [os.environ.get(name, "") for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE")]
    return next((host for host in hosts if not is_this_machine(host)), None)


def authorities(ca_file: Path | None) -> str:
    """The file of the authorities that are believed: the given one, or else the public ones."""
    if ca_file is not None:
        return str(ca_file)
    import certifi  # httpx brings it

    return certifi.where()


def why_no_authorities(file: str) -> str | None:
    """Why no certificate can be verified by that file; None if it holds authorities."""
    try:
        context = ssl.create_default_context(cafile=file)
    except FileNotFoundError:
        return f"the certificates of the databases' authority are not there: {file}; {REMEDY}"
    except (OSError, ssl.SSLError) as error:
        return f"no certificates can be read from {file} ({error}); {REMEDY}"
    return None if context.cert_store_stats()["x509"] else f"{file} holds no certificate; {REMEDY}"


def with_remedy(message: str) -> str:
    """The message, and what to do where it says that a server was not believed."""
    return f"{message}; {REMEDY}" if any(sign in message for sign in _DISTRUST) else message


def holds_certificate(pem: str) -> bool:
    """Whether the text may be PEM of certificates, and of nothing else."""
    return "-----BEGIN CERTIFICATE-----" in pem and "PRIVATE KEY" not in pem


@lru_cache(maxsize=8)
def file_of(pem: str) -> Path:
    """A file with that text, of this process alone and gone with it: drivers read certificates from files
    only.
    """
    directory = Path(tempfile.mkdtemp(prefix="exchange-platform-ca-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    file = directory / "authority.pem"
    file.write_text(pem)
    return file


def _without_port(host: str) -> str:
    return host.partition("]")[0] if host.startswith("[") else host.partition(":")[0]
