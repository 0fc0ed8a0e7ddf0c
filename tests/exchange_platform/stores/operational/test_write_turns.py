"""Writers of the embedded database take turns: one that writes all the time does not keep a heartbeat out."""

from __future__ import annotations

import fcntl
import threading
import time
from pathlib import Path

import pytest

from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.write_turns import WriteTurns
from tests.exchange_platform.stores.bet_tables import new_database
from tests.support.platform_parts import wait_for


def is_locked(path: Path) -> bool:
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_whoever_waits_writes_before_whoever_has_just_written(tmp_path: Path) -> None:
    """Without turns the busy writer comes first nearly every time: the waiting one sleeps between its
    looks.
    """
    with new_database(tmp_path) as busy:
        path = Path(str(busy.engine.url.database))
        other = Database(str(busy.engine.url))
        order: list[str] = []

        def heartbeat() -> None:
            with other.write():
                order.append("heartbeat")

        for _ in range(10):
            waiting = threading.Thread(target=heartbeat)
            with busy.write():
                waiting.start()
                wait_for(lambda: is_locked(path.with_name(f"{path.name}.turn")))
                order.append("first")
            with busy.write():
                order.append("second")
            waiting.join()
        other.dispose()
    assert order == ["first", "heartbeat", "second"] * 10


def test_a_process_that_is_stopped_while_it_has_the_turn_holds_nobody_up_for_long(tmp_path: Path) -> None:
    place = tmp_path / "database"
    for kind in ("turn", "writer"):
        turns = WriteTurns(str(place), patience_s=0.05)
        with (tmp_path / f"database.{kind}").open("ab") as stopped:
            fcntl.flock(stopped, fcntl.LOCK_EX)
            began_s = time.monotonic()
            for _ in range(100):
                with turns.turn():
                    pass
            assert time.monotonic() - began_s < 2.5, "it waits once, not for each of its transactions"
        with WriteTurns(str(place)).turn():
            assert is_locked(tmp_path / "database.writer")


def test_a_transaction_that_fails_gives_its_turn_back(tmp_path: Path) -> None:
    with new_database(tmp_path) as database:
        with pytest.raises(ZeroDivisionError), database.write():
            _ = 1 / 0
        with database.write():
            pass
