"""`python -m exchange_platform.api`: serves the API on one address until it is asked to end."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from pathlib import Path

from exchange_platform.api.serving import Server
from exchange_platform.process.private_files import keep_new_files_private
from exchange_platform.settings import InvalidSettings, load_settings


def main() -> int:
    """Serve; the exit status."""
    keep_new_files_private()
    parser = argparse.ArgumentParser(description="The HTTP API of the Exchange Platform.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--data-dir", type=Path, default=None)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    for noisy in ("botocore", "urllib3", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        settings = load_settings(arguments.data_dir)
    except InvalidSettings as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    server = Server(settings, host=arguments.host, port=arguments.port)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
