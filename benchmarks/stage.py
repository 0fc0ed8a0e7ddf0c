"""What the benchmarks share: the emulator as a process, and a consumer run until a source in memory is
committed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.schema import migrate
from exchange_platform.streams.exchange_bets import build_consumer
from tests.support.memory_source import MemorySource


@contextmanager
def emulator(data_dir: Path) -> Iterator[Settings]:
    """The AWS emulator as a process of its own; the settings that use it, with schemas made."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings(data_dir=data_dir, aws_endpoint_url=f"http://127.0.0.1:{port}")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "exchange_platform.local.emulator.server",
            "--port",
            str(port),
            "--data-dir",
            str(data_dir),
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        client = aws_client(settings, "dynamodb")
        for _ in range(200):
            try:
                client.describe_table(TableName=settings.profiles_table)
                break
            except Exception:
                time.sleep(0.1)
        migrate(settings)
        yield settings
    finally:
        process.terminate()
        process.wait()


def consume(settings: Settings, source: MemorySource, records: int) -> float:
    """Consume so many records of a source in memory into all sinks; the seconds from first read to last
    commit.
    """
    consumer = build_consumer(
        settings.model_copy(update={"poll_interval_s": 0.2}),
        run_id="benchmark",
        clock=SYSTEM_CLOCK,
        duration_s=600,
        source=source,
        report_interval_s=0.05,
    )
    consumer._reader._paces.poll_interval_s = 0.001  # memory has no quota
    began = time.perf_counter()
    for report in consumer.run():
        if report.records_total >= records and consumer._progress.outstanding() == 0:
            seconds = time.perf_counter() - began
            consumer.stop()
    return seconds
