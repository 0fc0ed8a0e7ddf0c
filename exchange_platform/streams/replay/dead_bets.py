"""How dead letters of `exchange-bets` are applied after all. Not here: which, and what is said of it
(dead_letters.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from exchange_platform.domain import records
from exchange_platform.domain.records import BetUpdate, Execution, Record
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.dynamodb.profile_view import ProfileView, ProfileViewMissing
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.bets.bets import apply_bet_updates
from exchange_platform.stores.operational.bets.profiles import Profiles
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.verdicts import APPLIED, REPEATED, Verdict


class DeadBets:
    """Executions and bet updates: into the operational database, the lake and the profile view."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._lake = Lake.from_settings(settings)
        self._users: set[str] = set()

    def decode(self, data: bytes) -> Record:
        """The record."""
        return records.decode(data)

    def apply(self, connection: sa.Connection, records: Sequence[Record], now_us: int) -> list[Verdict]:  # noqa: ARG002
        """Apply; what is accepted is in the lake on return, where doing it again changes nothing."""
        updates = [record for record in records if isinstance(record, BetUpdate)]
        of_updates = apply_bet_updates(connection, updates)
        accepted = [
            update for update, verdict in zip(updates, of_updates, strict=True) if verdict.reason is None
        ]
        self._users.update(update.user_id for update in accepted)
        executions = [record for record in records if isinstance(record, Execution)]
        done = self._lake.commit("dead-letters", 0, [], executions, accepted)
        of_executions = [APPLIED] * done.executions + [REPEATED] * (len(executions) - done.executions)
        left_updates, left_executions = iter(of_updates), iter(of_executions)
        return [
            next(left_updates if isinstance(record, BetUpdate) else left_executions) for record in records
        ]

    def finish(self) -> None:
        """Refresh the profiles that changed, and close the lake."""
        self._lake.close()
        if not self._users:
            return
        client = aws_client(self._settings, "dynamodb")
        try:
            ProfileView(client, self._settings.profiles_table).put(
                Profiles(self._database).read(sorted(self._users))
            )
        except ProfileViewMissing as error:
            raise StoreUnavailable(f"{error}: a consumer run makes it") from error
        finally:
            client.close()
