"""A container's entry point: the authority's certificates become a file before the command begins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.certificates import Certificate

SHOW = "import os, pathlib; print(pathlib.Path(os.environ['PGSSLROOTCERT']).read_text(), end='')"


def started(pem: str, place: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "exchange_platform.process.database_ca", *command],
        env={
            **os.environ,
            "EXCHANGE_PLATFORM_DATABASE_CA": pem,
            "EXCHANGE_PLATFORM_DATABASE_CA_FILE": str(place),
            "PGSSLROOTCERT": str(place),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_finds_the_certificates_in_the_file(tmp_path: Path) -> None:
    pem = Certificate(tmp_path).file.read_text()
    done = started(pem, tmp_path / "ca.pem", sys.executable, "-c", SHOW)
    assert (done.returncode, done.stdout) == (0, pem), done.stderr
    assert started("", tmp_path / "none.pem", sys.executable, "-c", "exit(7)").returncode == 7


@pytest.mark.parametrize("pem", ["no certificate", "-----BEGIN PRIVATE KEY-----"])
def test_what_is_no_certificate_starts_nothing(tmp_path: Path, pem: str) -> None:
    done = started(pem, tmp_path / "ca.pem", sys.executable, "-c", "print('started')")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no PEM of certificates" in done.stderr
    assert not (tmp_path / "ca.pem").exists()


def test_a_place_that_can_t_be_written_starts_nothing_and_says_so(tmp_path: Path) -> None:
    pem = Certificate(tmp_path).file.read_text()
    done = started(pem, tmp_path / "no-folder" / "ca.pem", sys.executable, "-c", "print('started')")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no-folder" in done.stderr
