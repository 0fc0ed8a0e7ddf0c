"""The API's cold start on Lambda: a bare Python, the unpacked zip, the first answer. Baseline: a bare Python
that does nothing.

python -m benchmarks.cold_start [--starts N] [--zip FILE]   (without --zip one is built, for the Python that
runs this)
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from deployments.lambda_zip import build
from exchange_platform.settings import Settings
from exchange_platform.stores.schema import migrate

FUNCTION = Path(__file__).parent.parent / "tests" / "deployments" / "bare_function.py"
HEALTH = {
    "version": "2.0",
    "rawPath": "/health",
    "rawQueryString": "",
    "headers": {"host": "api.example"},
    "requestContext": {
        "http": {"method": "GET", "path": "/health", "sourceIp": "192.0.2.7", "protocol": "HTTP/1.1"},
        "stage": "$default",
    },
    "isBase64Encoded": False,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--zip", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        packed = arguments.zip or directory / "api.zip"
        if arguments.zip is None:
            build(packed, python=f"{sys.version_info.major}.{sys.version_info.minor}")
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(directory / "function")
        migrate(Settings(data_dir=directory / "data"))
        size_mb = packed.stat().st_size / 1e6
        bare = [_seconds(["-c", "pass"], {}) for _ in range(arguments.starts)]
        starts = [_start(directory) for _ in range(arguments.starts)]
    print(
        f"zip {size_mb:.1f} MB; median of {arguments.starts} starts: function ready {statistics.median(ready for ready, _ in starts):.2f} s,"
        f" first answer {statistics.median(first for _, first in starts) * 1000:.0f} ms after it"
        f" | bare Python {statistics.median(bare) * 1000:.0f} ms"
    )


def _start(directory: Path) -> tuple[float, float]:
    environment = {
        "EXCHANGE_PLATFORM_DATA_DIR": str(directory / "data"),
        "EXCHANGE_PLATFORM_MAIL_KEY": "k" * 40,
    }
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", str(FUNCTION), str(directory / "function")],
        input=json.dumps([HEALTH]),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    assert told["answers"][0]["statusCode"] == 200, told["answers"]
    return told["import_s"], told["first_s"]


def _seconds(arguments: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-S", *arguments], env=environment, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
