"""Waiting until a platform that nobody disturbs any more has caught up with its exchange, and saying for
what. Judging it is the audit's.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
from botocore.exceptions import BotoCoreError, ClientError

from tests.faults.audit import exchange, lake, operational, outbox, view
from tests.faults.audit.audit import JOURNAL

_SAY_EVERY_S = 15.0


class Settling:
    """Looks at the stores from outside."""

    def __init__(self, data_dir: Path, journal_copy: Path, endpoint: str, secret: str) -> None:
        """`endpoint` and `secret` are the AWS emulator's."""
        self._data_dir = data_dir
        self._endpoint = endpoint
        self._secret = secret
        self._copy = journal_copy

    def all_answered(self) -> bool:
        """Whether the exchange has answered every order."""
        return (
            self._count("SELECT (SELECT count(*) FROM pending_bets) + (SELECT count(*) FROM replacements)")
            == 0
        )

    def wait(self, *, patience_s: float, at_most_s: float, say: Callable[[str], None]) -> None:
        """Wait until nothing is waited for. Gives up once nothing came nearer for `patience_s`, or after
        `at_most_s`: then the audit says why.
        """
        told = exchange.read(self._copy)
        wanted = (len(told.executions), sum(map(len, told.bets.values())))
        newest = {bet_id: bet.version for bet_id, bet in told.newest().items()}
        began_s = moved_s = said_s = time.monotonic()
        least: dict[str, int] = {}
        while waiting := self._waiting_for(wanted, newest):
            now_s = time.monotonic()
            if any(count < least.get(what, count + 1) for what, count in waiting.items()):
                moved_s = now_s
            least |= {what: min(count, least.get(what, count)) for what, count in waiting.items()}
            words = ", ".join(f"{count} {what}" for what, count in waiting.items())
            if now_s - said_s > _SAY_EVERY_S:
                said_s = now_s
                say(f"waiting for {words}")
            if now_s - moved_s > patience_s or now_s - began_s > at_most_s:
                say(f"not caught up after {now_s - began_s:.0f} s: {words}")
                return
            time.sleep(1.0)

    def _waiting_for(self, wanted: tuple[int, int], newest: dict[str, int]) -> dict[str, int]:
        """How many of what is not there yet."""
        try:
            executions, versions = lake.counts(self._data_dir)
            shown = {
                user_id: item["version"]
                for user_id, item in view.scan(self._endpoint, secret=self._secret).items()
            }
        except (duckdb.Error, BotoCoreError, ClientError) as error:
            return {f"answers of a store ({error})": 1}
        with operational.opened(self._data_dir) as db:
            stored = dict(tuple(row) for row in db.execute("SELECT bet_id, version FROM bets"))
            profiles = dict(tuple(row) for row in db.execute("SELECT user_id, version FROM profiles"))
            behind = {f"changes for {channel}": count for channel, count in outbox.behind(db).items()}
        behind |= {
            "batches that the exchange has not published": exchange.unpublished(self._data_dir / JOURNAL),
            "bets": sum(stored.get(bet_id, 0) < version for bet_id, version in newest.items()),
            "executions in the lake": wanted[0] - executions,
            "bets' versions in the lake": wanted[1] - versions,
            "mails": self._count("SELECT count(*) FROM mails WHERE state = 'waiting'"),
            "profiles in the view": sum(shown.get(one) != known for one, known in profiles.items()),
        }
        return {what: count for what, count in behind.items() if count > 0}

    def _count(self, query: str) -> int:
        try:
            with operational.opened(self._data_dir) as db:
                return int(db.execute(query).fetchone()[0])
        except sqlite3.OperationalError:  # busy: it is asked again
            return 1
