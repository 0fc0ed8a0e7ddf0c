"""A container's health check tells well from not."""

from __future__ import annotations

import subprocess
import sys

import pytest


def _probe(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "exchange_platform.local.probe", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_answers_well_is_well(emulator_url: str) -> None:
    assert _probe(f"{emulator_url}/health").returncode == 0


@pytest.mark.parametrize("path", ["/moto-api/data.json", ":1/"])
def test_what_answers_otherwise_or_not_at_all_is_told(emulator_url: str, path: str) -> None:
    url = f"{emulator_url}{path}" if path.startswith("/") else f"http://127.0.0.1{path}"
    done = _probe(url)
    assert done.returncode == 1
    assert url in done.stderr


def test_anything_but_an_address_is_refused() -> None:
    assert _probe("file:///etc/passwd").returncode == 2
