"""`python -m exchange_platform.api`: serves the API on one address until it is told to end."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import uvicorn

from exchange_platform.api.app import create_app
from exchange_platform.settings import InvalidSettings, load_settings


def main() -> int:
    """Serve; the exit status."""
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
    # No line a request: a path or query can hold what must not be in a log.
    uvicorn.run(
        create_app(settings),
        host=arguments.host,
        port=arguments.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
