"""The profile view as a sink of the bets' stream. Not here: the view itself (dynamodb/profile_view.py)."""

from __future__ import annotations

from collections.abc import Sequence

from botocore.exceptions import BotoCoreError, ClientError

from exchange_platform.domain.records import BetUpdate
from exchange_platform.process.clock import Clock
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client, is_transient
from exchange_platform.stores.checkpoints import Advance, StoreUnavailable
from exchange_platform.stores.dynamodb.profile_view import ProfileView, ProfileViewMissing, ensure_table
from exchange_platform.stores.operational.bets.profiles import Profiles
from exchange_platform.stores.operational.consumers.consumers import Checkpoints
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.engine.sink import SinkCommit
from exchange_platform.streams.engine.source import ShardBatch
from exchange_platform.streams.sources.names import EXCHANGE_BETS

PROFILE_VIEW = "profile_view"


class ProfileViewSink:
    """The profiles that the batches changed, as they are in the operational database by then, in DynamoDB.

    Its checkpoint lies in the operational database and is written after the view: an item is conditioned on
    the profile's version, so writing it again, or an older consumer's writing it late, does no harm.
    """

    name = PROFILE_VIEW
    enough_records = 20_000  # a user's many updates are one write

    def __init__(self, database: Database, view: ProfileView, settings: Settings, clock: Clock) -> None:
        self.interval_s = settings.profile_view_interval_s
        self._database = database
        self._profiles = Profiles(database)
        self._view = view
        self._settings = settings
        self._clock = clock
        self._checkpoints = Checkpoints(database, self.name)

    def claim(self, epoch: int, shards: Sequence[str]) -> dict[str, str | None]:
        """Claim the shards' checkpoints; a view that is not there is made and filled."""
        held = self._checkpoints.claim(EXCHANGE_BETS, epoch, shards, now_us=self._clock.now_us())
        if all(position is None for position in held.values()):
            self._fill()
        return held

    def commit(self, epoch: int, batches: Sequence[ShardBatch], advances: Sequence[Advance]) -> SinkCommit:
        """Write the newest profile of every user of whom the batches tell."""
        users = sorted(
            {
                record.record.user_id
                for batch in batches
                for record in batch.records
                if isinstance(record.record, BetUpdate)
            }
        )
        try:
            written = self._view.put(self._profiles.read(users))
        except ProfileViewMissing:
            written = self._fill()
        with self._database.write() as connection:
            self._checkpoints.advance(connection, EXCHANGE_BETS, epoch, advances, now_us=self._clock.now_us())
        return SinkCommit(written, len(users) - written if written <= len(users) else 0)

    def tick(self, epoch: int) -> None:  # noqa: ARG002 - an older consumer's write does no harm
        """Write the profiles that transfers and submissions changed, of which the stream does not tell, or
        later.
        """
        due = self._profiles.due()
        if due:
            try:
                self._view.put(self._profiles.read(sorted(due)))
            except ProfileViewMissing:
                self._fill()
            self._profiles.taken(due)

    def close(self) -> None:
        """The database is its owner's to close."""

    def _fill(self) -> int:
        """Make the table if it is not there, and write every profile that is newer than the view's."""
        client = aws_client(self._settings, "dynamodb")
        try:
            ensure_table(client, self._settings.profiles_table)
            return sum(self._view.put(page) for page in self._profiles.pages())
        except (ClientError, BotoCoreError) as error:
            if not is_transient(error):
                raise
            raise StoreUnavailable(f"profile view: {error}") from error
        finally:
            client.close()
