"""The AWS emulator's process: moto's server on 127.0.0.1, with the platform's streams and tables in it.

`python -m exchange_platform.local.emulator.server --port N`. Everything it holds is in its memory, so it is a
process of its own: the others may die without it. Not here: moto's Kinesis made fit for long streams
(kinesis.py).
"""

from __future__ import annotations

import argparse
import logging
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import waitress.channel
import waitress.server
import waitress.task

from exchange_platform.confirmation.feedback_channel import ensure_feedback_queue
from exchange_platform.process.origins import LOOPBACK_NAMES
from exchange_platform.process.private_files import keep_new_files_private
from exchange_platform.settings import Settings, load_settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.dynamodb.confirmation_tokens import ensure_tokens_table
from exchange_platform.stores.dynamodb.profile_view import ensure_table
from exchange_platform.streams.sources.kinesis import ensure_stream

HOST = "127.0.0.1"

Through = Callable[[Any], Any]
"""Puts a WSGI application around another."""

log = logging.getLogger(__name__)


_THREADS = 24
"""Requests answered at once. A call that waits, for a message of a queue say, holds one."""

_MAX_CONNECTIONS = 1000


class _Closing(waitress.task.WSGITask):  # type: ignore[misc]  # waitress has no types
    def build_response_header(self) -> bytes:
        self.request.headers["CONNECTION"] = "close"
        header: bytes = super().build_response_header()
        return header


class _Channel(waitress.channel.HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection on which a request without a body may ask to be told to go on; waitress (3.0.2) would wait
    for its body for ever.
    """

    def send_continue(self) -> None:
        complete = self.request.completed
        super().send_continue()
        self.request.completed = complete


class _OneRequest(_Channel):
    """A connection that ends with its first answer, whatever the client asked for."""

    task_class = _Closing


class Emulator:
    """The emulator's HTTP server: listening once it is made, answering while `serve` runs in some thread."""

    def __init__(
        self,
        port: int,
        host: str = HOST,
        *,
        keep_alive: bool = True,
        through: Through = lambda application: application,
        is_open: bool = False,
        secret: str | None = None,
    ) -> None:
        """Listen on `host` (port 0: any that is free). Raises `OSError` where the port is taken.

        Requests are signed with `secret` (None: with whatever they like). An open one lets everything in,
        moto's own pages too.
        """
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        from exchange_platform.local.emulator import dispatch as emulated_dispatch
        from exchange_platform.local.emulator import dynamodb as emulated_dynamodb
        from exchange_platform.local.emulator import kinesis as emulated_kinesis
        from exchange_platform.local.emulator import messages as emulated_messages
        from exchange_platform.local.emulator.fast_paths import FastPaths
        from exchange_platform.local.emulator.gate import Gate

        emulated_dispatch.install()
        emulated_dynamodb.install()
        emulated_kinesis.install()
        emulated_messages.install()
        application = FastPaths(DomainDispatcherApplication(create_backend_app))
        names = LOOPBACK_NAMES if host == HOST else None
        self._server: Any = waitress.server.create_server(
            through(application if is_open else Gate(application, names=names, secret=secret)),
            host=host,
            port=port,
            threads=_THREADS,
            connection_limit=_MAX_CONNECTIONS,
            asyncore_use_poll=True,
            clear_untrusted_proxy_headers=True,
        )
        self._server.channel_class = _Channel if keep_alive else _OneRequest
        self.port: int = self._server.effective_port

    def serve(self) -> None:
        """Answer until `close`."""
        self._server.run()

    def close(self) -> None:
        """Stop listening and answering; connections are cut. From any thread, while another serves."""
        self._server.trigger.pull_trigger(self._end)

    def _end(self) -> None:
        waitress.server.wasyncore.close_all(self._server._map)
        self._server.task_dispatcher.shutdown(timeout=1)


def provision(settings: Settings) -> None:
    """Create what the platform uses in an emulator, unless it is there. Idempotent."""
    kinesis = aws_client(settings, "kinesis")
    dynamodb = aws_client(settings, "dynamodb")
    sns = aws_client(settings, "sns")
    sqs = aws_client(settings, "sqs")
    try:
        ensure_stream(kinesis, settings.orders_stream)
        ensure_stream(kinesis, settings.bets_stream)
        ensure_table(dynamodb, settings.profiles_table)
        ensure_tokens_table(dynamodb, settings.tokens_table)
        if settings.mail_feedback_queue is not None and settings.mail_feedback_topic is not None:
            ensure_feedback_queue(sns, sqs, settings.mail_feedback_topic, settings.mail_feedback_queue)
        ensure_topic(sns, settings.status_topic)
    finally:
        for client in (kinesis, dynamodb, sns, sqs):
            client.close()


def ensure_topic(sns: Any, topic: str) -> None:
    """Create the topic (its name, or its ARN) unless it exists."""
    name = topic.rpartition(":")[2]
    sns.create_topic(Name=name, Attributes={"FifoTopic": "true"} if name.endswith(".fifo") else {})


def serve(
    port: int,
    data_dir: Path | None,
    *,
    host: str = HOST,
    empty: bool = False,
    through: Through = lambda application: application,
) -> None:
    """Serve until SIGTERM or SIGINT; an empty account where streams and tables are made by somebody else.

    That is Terraform, whose AWS provider now and then asks again for what has been done (repeats.py), most on
    connections that are kept.
    """
    settings = load_settings(data_dir)
    if empty:
        from exchange_platform.local.emulator import account as emulated_account
        from exchange_platform.local.emulator.repeats import Repeats

        emulated_account.install()
        server = Emulator(
            port,
            host,
            keep_alive=False,
            through=lambda application: through(Repeats(application)),
            is_open=True,
        )
    else:
        key = settings.emulator_key
        secret = key.get_secret_value() if key is not None else None
        server = Emulator(port, host, through=through, secret=secret)
    settings = settings.model_copy(update={"aws_endpoint_url": f"http://{HOST}:{server.port}"})
    thread = threading.Thread(target=server.serve, name="emulator", daemon=True)
    thread.start()
    if empty:
        log.info("AWS emulator on %s: an empty account", settings.aws_endpoint_url)
    else:
        _provision_and_say(settings)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    ending.wait()


def _provision_and_say(settings: Settings) -> None:
    began = time.monotonic()
    provision(settings)
    log.info(
        "AWS emulator on %s: streams %s and %s, table %s (%.1f s)",
        settings.aws_endpoint_url,
        settings.bets_stream,
        settings.orders_stream,
        settings.profiles_table,
        time.monotonic() - began,
    )


def main(*, through: Through = lambda application: application) -> None:
    """Read the arguments and serve."""
    keep_new_files_private()
    parser = argparse.ArgumentParser(description="The AWS emulator of the platform on this machine.")
    parser.add_argument("--port", type=int, required=True, help="TCP port")
    parser.add_argument("--host", default=HOST, help=f"address that it listens on (default {HOST})")
    parser.add_argument(
        "--empty", action="store_true", help="an empty account: no stream, no table (Terraform makes them)"
    )
    parser.add_argument("--data-dir", type=Path, default=None)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for noisy in ("waitress", "botocore", "moto", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a few calls that wait are no news
    serve(arguments.port, arguments.data_dir, host=arguments.host, empty=arguments.empty, through=through)


if __name__ == "__main__":
    main()
