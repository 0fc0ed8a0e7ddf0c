"""`python -m exchange_platform.process.database_ca COMMAND...`: a container's entry point, which makes a file
of DATABASE_CA and becomes the command.

ECS gives a secret as a variable, and Dagster's own storage reads the authority's certificates from the file
that PGSSLROOTCERT names. Where the file is, DATABASE_CA_FILE says; without both variables nothing is written.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

from exchange_platform.process.database_tls import holds_certificate

CA, CA_FILE = "EXCHANGE_PLATFORM_DATABASE_CA", "EXCHANGE_PLATFORM_DATABASE_CA_FILE"


def write(environment: MutableMapping[str, str]) -> None:
    """Write the file, whole or not at all. Raises `ValueError` where the variable holds no certificate, and
    `OSError`.
    """
    pem, place = environment.get(CA), environment.get(CA_FILE)
    if not pem or not place:
        return
    if not holds_certificate(pem):
        raise ValueError(f"{CA} is no PEM of certificates (-----BEGIN CERTIFICATE-----)")
    fresh = Path(f"{place}.{os.getpid()}")
    fresh.write_text(pem)
    fresh.replace(place)


def main(command: list[str]) -> int:
    """Write the file and become the command; an exit status only where that fails."""
    try:
        write(os.environ)
        if not command:
            raise ValueError("no command is given")
        os.execvp(command[0], command)  # noqa: S606 - what the container is for
    except (ValueError, OSError) as error:
        print(f"database_ca: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
