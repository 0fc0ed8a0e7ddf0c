"""The storm: while customers bet over HTTP, random processes of a whole platform are killed or stopped, and
then every penny is looked for.

STORM_STRIKES says how many strikes in all (200 is the long form), in runs of up to 50; STORM_SEED repeats a
storm's choices, and STORM_RATE is the executions a second, for a machine that is busy with other things.
"""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest

from tests.faults.audit import exchange, mails, view
from tests.faults.audit.audit import JOURNAL, Evidence, audit, figures, save
from tests.faults.audit.findings import in_words
from tests.faults.storm.customers import Customers, unexpected
from tests.faults.storm.running import Running
from tests.faults.storm.settling import Settling
from tests.faults.storm.tormentor import Tormentor

STRIKES = int(os.environ.get("STORM_STRIKES", "20"))
SEED = int(os.environ.get("STORM_SEED", "99680384")) or random.SystemRandom().randrange(1, 10**9)
"""The same each time, so that a run can be compared with another; `STORM_SEED=0` draws one."""
STRIKES_A_RUN = 50
RATE = int(os.environ.get("STORM_RATE", "20"))
CUSTOMERS = 4
ANSWERED_S = 120.0
"""How long the first bets and the last answers may take; on a machine of its own, some seconds."""
PATIENCE_S, CAUGHT_UP_S = 60.0, 400.0
"""How long nothing may come nearer after the storm, and how long all of it may take on a busy machine."""
_RUNS = [min(STRIKES_A_RUN, STRIKES - done) for done in range(0, STRIKES, STRIKES_A_RUN)]


@pytest.mark.faults
@pytest.mark.alone
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("number", "strikes"), list(enumerate(_RUNS)))
def test_no_penny_is_lost_in_a_storm(number: int, strikes: int, tmp_path: Path) -> None:
    seed = SEED + number
    print(f"\nSTORM_SEED={seed}, {strikes} strikes")
    rng = random.Random(seed)
    running = Running(tmp_path / "data", rate=RATE)
    copy = exchange.JournalCopy(running.data_dir / JOURNAL, tmp_path / "exchange-copy.sqlite")
    try:
        running.start()
        copy.start()
        evidence = _storm(running, copy, rng, strikes, tmp_path)
    finally:
        running.kill()
    save(evidence, tmp_path / "evidence.json")
    findings = audit(evidence)
    print(figures(evidence))
    assert not findings, f"STORM_SEED={seed}, evidence in {tmp_path / 'evidence.json'}\n{in_words(findings)}"


def _storm(
    running: Running, copy: exchange.JournalCopy, rng: random.Random, strikes: int, tmp_path: Path
) -> Evidence:
    url, token = running.api()
    customers = Customers(url, token, running.data_dir / mails.FOLDER, rng, at_once=CUSTOMERS)
    tormentor = Tormentor(running.processes, rng, say=lambda line: print(line, flush=True))
    customers.start()
    try:
        running.until(customers.all_betting, ANSWERED_S, "customers who bet")
        began_s = time.monotonic()
        tormentor.strike(strikes, threading.Event())
    finally:
        customers.finish(ANSWERED_S)
    print(
        f"{time.monotonic() - began_s:.1f} s of storm, in it {sum(len(one.bets) for one in customers.notes)} bets",
        tormentor.summary(),
        f"refused: {dict(customers.refused)}",
        sep="\n",
        flush=True,
    )
    assert not customers.failures, customers.failures
    assert not unexpected(customers.refused)

    emulator = running.platform_file()
    endpoint, secret = str(emulator["aws_endpoint_url"]), str(emulator["emulator_key"])
    settling = Settling(running.data_dir, tmp_path / "exchange-copy.sqlite", endpoint, secret)
    began_s = time.monotonic()
    running.until(settling.all_answered, CAUGHT_UP_S, "every bet to be answered")
    running.stop_exchange()
    copy.stop()
    settling.wait(patience_s=PATIENCE_S, at_most_s=CAUGHT_UP_S, say=lambda line: print(line, flush=True))
    print(f"caught up {time.monotonic() - began_s:.1f} s after the storm", flush=True)
    items = view.scan(endpoint, secret=secret)
    assert running.stop() == 0
    return Evidence(
        running.data_dir,
        tmp_path / "exchange-copy.sqlite",
        items,
        customers.notes,
        repeated_mails=0,
    )
