"""`python -m exchange_platform.exchanges.gateway`: serves the gateway on 127.0.0.1 until it is asked
to end.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import uvicorn

from exchange_platform.exchanges.gateway.app import create_app
from exchange_platform.exchanges.gateway.signing import SignedExchange
from exchange_platform.process.database_tls import is_this_machine
from exchange_platform.process.origins import LOOPBACK_NAMES, OriginGuard
from exchange_platform.process.private_files import keep_new_files_private
from exchange_platform.settings import load_settings

HOST = "127.0.0.1"


def main() -> int:
    """Serve; the exit status."""
    keep_new_files_private()
    parser = argparse.ArgumentParser(
        description="The exchange's event feed, and the bets that it took, over HTTP."
    )
    parser.add_argument("--port", type=int, required=True, help="TCP port")
    parser.add_argument("--host", default=HOST, help=f"address that it listens on (default {HOST})")
    parser.add_argument("--data-dir", type=Path, required=True)
    arguments = parser.parse_args()
    keys = load_settings(arguments.data_dir).exchange_keys
    if not keys and not is_this_machine(arguments.host):
        parser.error(
            "others can reach it there, and its answers settle bets: EXCHANGE_PLATFORM_EXCHANGE_KEY is needed"
        )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    # No page has any business here. On a network the platform calls it by whatever name it has there.
    names = LOOPBACK_NAMES if arguments.host == HOST else None
    app = create_app(arguments.data_dir)
    uvicorn.run(
        OriginGuard(SignedExchange(app, keys) if keys else app, allowed=names),
        host=arguments.host,
        port=arguments.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,  # who waits for news asks the next gateway
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
