"""Publishes every change to the SNS topic, in order per bet. Not here: mail (mailing.py), or what subscribers
make of it (docs/notifications.md).

A round publishes some changes, side by side but never two of one bet in one call, and keeps its position once
all of them are published. So a crash can publish again at most one round: those that SNS had taken and whose
position was not kept.
"""

from __future__ import annotations

import logging
import zlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from exchange_platform.delivery.delivery import Figures, Lease
from exchange_platform.mail.refusals import RefusedInARow
from exchange_platform.process.back_off import BackOff
from exchange_platform.process.clock import Clock
from exchange_platform.process.decoders import json_decoder
from exchange_platform.settings.aws import error_code, is_transient
from exchange_platform.stores.checkpoints import Advance
from exchange_platform.stores.failures import same_reason
from exchange_platform.stores.operational.bets.outbox import (
    NOTIFICATIONS,
    POSITION,
    TOPIC,
    ChangeRow,
    Outbox,
)
from exchange_platform.stores.operational.consumers.consumers import Checkpoints
from exchange_platform.stores.operational.consumers.dead_letters import bury_again
from exchange_platform.stores.operational.database import Database, from_us

log = logging.getLogger(__name__)

BATCH = 10
"""Messages in one call: SNS's own limit."""
LANES = 4
"""Calls at once, where there is enough for several. A round's changes of a bet are in the same lane, one
after another.
"""
MAX_IN_ROUND = 400
"""Changes between two commits of the position, which waits for other writers: small rounds would not keep up
with a busy exchange.
"""

_POLL_S = 0.25
_COUNT_EVERY_S = 1.0
_PAUSES = BackOff(first_s=0.5, max_s=30.0)
_REFUSED = frozenset(
    {"InvalidParameter", "InvalidParameterValue", "InvalidParameterException", "ValidationError"}
)


class ChangeMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="bet_change"):
    """One message of the topic. `version` orders the messages of a bet; one that is repeated is the same, to
    the byte.
    """

    v: int = 1
    change: str
    bet_id: str
    version: int
    user_id: str
    status_before: str | None
    status: str
    changed_at: str
    bet: msgspec.Raw


@dataclass(slots=True)
class Published:
    """What became of changes, by sequence. With `error` (why), nothing more can be published now and some
    are missing here.
    """

    taken: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)
    error: str | None = None

    def add(self, other: Published) -> None:
        """Take what became of others."""
        self.taken |= other.taken
        self.refused |= other.refused
        self.error = self.error or other.error


class Topic:
    """The SNS topic. A name that ends in `.fifo` is a FIFO topic: there SNS itself keeps the order and drops
    repeats. Thread-safe.
    """

    def __init__(self, client: Any, find_arn: Callable[[], str]) -> None:
        """`find_arn` says where to publish to; it is asked once, and again while it fails."""
        self._client = client
        self._find_arn = find_arn
        self._arn: str | None = None

    def publish(self, changes: Sequence[ChangeRow]) -> Published:
        """Publish up to 10 changes, no two of one bet, in one call."""
        done = Published()
        try:
            if self._arn is None:
                self._arn = self._find_arn()
            answer = self._client.publish_batch(
                TopicArn=self._arn,
                PublishBatchRequestEntries=[self._entry(change, self._arn) for change in changes],
            )
        except (ClientError, BotoCoreError) as error:
            text = f"{error_code(error)}: {' '.join(str(error).split())[:200]}"
            if is_transient(error) or error_code(error) not in _REFUSED:
                done.error = text
            elif len(changes) == 1:
                done.refused[changes[0].sequence] = text
            else:  # one of them spoils the call: each on its own
                for change in changes:
                    if done.error is None:
                        done.add(self.publish([change]))
            return done
        done.taken.update(int(one["Id"]) for one in answer.get("Successful", ()))
        for failed in answer.get("Failed", ()):
            text = f"{failed.get('Code')}: {failed.get('Message', '')}"
            if failed.get("SenderFault"):
                done.refused[int(failed["Id"])] = text
            else:
                done.error = text
        if len(done.taken) + len(done.refused) < len(changes):
            done.error = done.error or "SNS did not say what became of some messages"
        return done

    def close(self) -> None:
        """Close the client's connections."""
        self._client.close()

    def _entry(self, change: ChangeRow, arn: str) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "Id": str(change.sequence),
            "Message": message_of(change).decode(),
            "MessageAttributes": {
                name: {"DataType": "String", "StringValue": value}
                for name, value in attributes_of(change).items()
            },
        }
        if arn.endswith(".fifo"):
            entry["MessageGroupId"] = change.bet_id
            entry["MessageDeduplicationId"] = f"{change.bet_id}.{change.bet_version}"
        return entry


def message_of(change: ChangeRow) -> bytes:
    """The message's body, as JSON."""
    return msgspec.json.encode(
        ChangeMessage(
            change=change.change,
            bet_id=change.bet_id,
            version=change.bet_version,
            user_id=change.user_id,
            status_before=change.status_before,
            status=change.status_after,
            changed_at=from_us(change.changed_at_us).isoformat().replace("+00:00", "Z"),
            bet=msgspec.Raw(change.bet.encode()),
        )
    )


class _Ids(msgspec.Struct):
    event_id: str
    market_id: str


_ids = json_decoder(_Ids)


def attributes_of(change: ChangeRow) -> dict[str, str]:
    """What subscribers can filter by."""
    ids = _ids.decode(change.bet)
    return {
        "change": change.change,
        "status": change.status_after,
        "event_id": ids.event_id,
        "market_id": ids.market_id,
        "user_id": change.user_id,
    }


class TopicChannel:
    """The outbox's changes on their way to the topic: a `Channel` of a `DeliveryRun`."""

    name = TOPIC

    def __init__(self, database: Database, topic: Topic, clock: Clock) -> None:
        self._database = database
        self._topic = topic
        self._clock = clock
        self._outbox = Outbox(database)
        self._checkpoints = Checkpoints(database, TOPIC)
        self._pool = ThreadPoolExecutor(LANES, thread_name_prefix="topic")
        self._epoch = 0
        self._position: str | None = None
        self._done = Published()
        self._counts: Counter[str] = Counter()
        self._lags_ms: deque[float] = deque(maxlen=1000)
        self._waiting = 0
        self._oldest_at_us: int | None = None
        self._counted_at_s = float("-inf")
        self._refused = RefusedInARow()
        self._last_error = ""
        self._pauses = 0

    def claim(self, epoch: int) -> None:
        """Take the position over."""
        held = self._checkpoints.claim(NOTIFICATIONS, epoch, [POSITION], now_us=self._clock.now_us())
        self._epoch = epoch
        self._position = held[POSITION]

    def work(self, lease: Lease) -> float:
        """Publish one round."""
        changes = self._outbox.after(int(self._position or 0), MAX_IN_ROUND)
        self._count(changes)
        if not changes:
            return _POLL_S
        if not lease.holds():
            return _POLL_S
        self._publish(changes)
        self._acquit()
        if self._done.error is not None:
            if not self._last_error:
                log.warning("the topic can't be published to: %s", self._done.error)
            self._last_error, self._done.error = self._done.error, None
            self._pauses += 1
            return _PAUSES.pause_s(self._pauses)
        self._last_error, self._pauses = "", 0
        self._keep(changes)
        return 0.0 if len(changes) == MAX_IN_ROUND else _POLL_S

    def drain(self, timeout_s: float) -> None:
        """A round is over before `work` returns: nothing is under way."""

    def figures(self) -> Figures:
        """Counts since the run began, and how things stand."""
        lags = sorted(self._lags_ms)
        oldest = self._oldest_at_us
        return {
            "delivered": self._counts["published"],
            "published": self._counts["published"],
            "failed": self._counts["refused"],
            "waiting": self._waiting,
            "oldest_waiting_s": round(max(0, self._clock.now_us() - oldest) / 1e6, 3) if oldest else 0.0,
            "lag_ms": round(lags[len(lags) // 2], 1) if lags else 0.0,
            "lag_p99_ms": round(lags[int(0.99 * len(lags))], 1) if lags else 0.0,
        }

    def last_error(self) -> str | None:
        """Why nothing can be published now."""
        return self._last_error or None

    def close(self) -> None:
        """Close the client."""
        self._pool.shutdown(wait=True)
        self._topic.close()

    def _publish(self, changes: Sequence[ChangeRow]) -> None:
        """Publish those of the round that are not yet: after an error, what was taken is not published
        again.
        """
        settled = self._done.taken | self._done.refused.keys()
        left = [change for change in changes if change.sequence not in settled]
        count = min(LANES, -(-len(left) // BATCH))
        lanes: dict[int, list[ChangeRow]] = {}
        for change in left:
            lanes.setdefault(zlib.crc32(change.bet_id.encode()) % count, []).append(change)
        # Every lane ends before the round does, or a bet's changes could pass each other.
        for lane in [self._pool.submit(self._lane, lane) for lane in lanes.values()]:
            self._done.add(lane.result())

    def _acquit(self) -> None:
        """Where all of a round is refused for one reason, no message is to blame: publish it again later."""
        done = self._done
        if done.taken:
            self._refused.taken()
        elif done.refused and done.error is None:
            reason, count = Counter(map(same_reason, done.refused.values())).most_common(1)[0]
            example = next(text for text in done.refused.values() if same_reason(text) == reason)
            wrong = self._refused.blames_none(example, count)
            if wrong is not None:
                self._done = Published(error=wrong)

    def _lane(self, changes: Sequence[ChangeRow]) -> Published:
        done = Published()
        for batch in batches(changes):
            done.add(self._topic.publish(batch))
            if done.error is not None:
                break
        return done

    def _keep(self, changes: Sequence[ChangeRow]) -> None:
        now_us = self._clock.now_us()
        position = str(changes[-1].sequence)
        refused = self._done.refused
        with self._database.write() as connection:
            self._checkpoints.advance(
                connection,
                NOTIFICATIONS,
                self._epoch,
                [Advance(POSITION, self._position, position)],
                now_us=now_us,
            )
            for change in changes:
                if change.sequence in refused:
                    bury_again(connection, _dead_letter(change, refused[change.sequence], now_us))
        self._position = position
        self._done = Published()
        self._counts["published"] += len(changes) - len(refused)
        self._counts["refused"] += len(refused)
        self._lags_ms.extend((now_us - change.changed_at_us) / 1000 for change in changes)

    def _count(self, next_changes: Sequence[ChangeRow]) -> None:
        self._oldest_at_us = next_changes[0].changed_at_us if next_changes else None
        now_s = self._clock.monotonic_s()
        if not next_changes:
            self._waiting = 0
        elif now_s - self._counted_at_s >= _COUNT_EVERY_S:
            self._waiting = self._outbox.newest() - int(self._position or 0)
            self._counted_at_s = now_s


def batches(changes: Sequence[ChangeRow]) -> list[list[ChangeRow]]:
    """The changes in calls of up to 10, each bet's in their order; no call has two of one bet, as a call
    keeps no order.
    """
    calls: list[list[ChangeRow]] = []
    last_call: dict[str, int] = {}
    for change in changes:
        at = last_call.get(change.bet_id, -1) + 1
        while at < len(calls) and len(calls[at]) == BATCH:
            at += 1
        if at == len(calls):
            calls.append([])
        calls[at].append(change)
        last_call[change.bet_id] = at
    return calls


def _dead_letter(change: ChangeRow, reason: str, now_us: int) -> dict[str, Any]:
    return {
        "source": NOTIFICATIONS,
        "shard": TOPIC,
        "position": str(change.sequence),
        "part": 0,
        "stage": "publish",
        "reason": reason,
        "data": message_of(change),
        "partition_key": change.bet_id,
        "arrived_at_us": change.changed_at_us,
        "dead_at_us": now_us,
    }
