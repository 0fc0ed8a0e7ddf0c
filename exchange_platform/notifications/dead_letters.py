"""Replaying what could not be delivered: dead mails are queued again, dead messages are published. Not here:
records (replay/dead_letters.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
import sqlalchemy as sa

from exchange_platform.notifications.topic import ChangeMessage, Topic
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.process.decoders import json_decoder
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client, topic_arn
from exchange_platform.stores.operational.bets.outbox import TOPIC, ChangeRow
from exchange_platform.stores.operational.consumers.dead_letters import UNDELIVERED, DeadLetter, DeadLetters
from exchange_platform.stores.operational.database import Database, dead_letters, to_us
from exchange_platform.stores.operational.mails.mails import MAIL, requeue
from exchange_platform.stores.operational.upsert import chunks
from exchange_platform.streams.replay.dead_letters import Replayed

_message = json_decoder(ChangeMessage)
_BATCH = 200


def replay_undelivered(
    settings: Settings, ids: Sequence[int] | None = None, *, clock: Clock = SYSTEM_CLOCK
) -> Replayed:
    """Deliver dead mails and messages after all (None: all that wait), oldest first; other dead letters are
    passed over.

    A mail is queued on return, and sent by the next run; a message is published. What is refused again waits
    with its new reason. Raises `StoreUnavailable`; what was done until then is marked.
    """
    database = Database(settings.operational_database_url)
    client = aws_client(settings, "sns")
    topic = Topic(client, lambda: topic_arn(settings, settings.status_topic))
    try:
        letters = DeadLetters(database)
        chosen = letters.waiting_ids() if ids is None else list(ids)
        applied = still_dead = 0
        for some in chunks(chosen, _BATCH):
            waiting = [
                letter
                for letter in (letters.show(one) for one in some)
                if letter is not None and letter.replayed_at_us is None and letter.shard in UNDELIVERED
            ]
            reasons: dict[int, str | None] = {
                letter.dead_letter_id: _published(topic, letter)
                for letter in waiting
                if letter.shard == TOPIC
            }
            now_us = clock.now_us()
            # In one transaction: a mail that dies again at once is a dead letter that waits, not one that was
            # replayed.
            with database.write() as connection:
                mails = [letter for letter in waiting if letter.shard == MAIL]
                alive = {letter.dead_letter_id for letter in requeue(connection, mails, now_us=now_us)}
                for letter in mails:
                    found = letter.dead_letter_id in alive
                    reasons[letter.dead_letter_id] = None if found else "there is no such dead mail any more"
                _mark(connection, reasons, now_us)
            dead = sum(reason is not None for reason in reasons.values())
            applied, still_dead = applied + len(reasons) - dead, still_dead + dead
        return Replayed(applied, 0, still_dead)
    finally:
        topic.close()
        database.dispose()


def _published(topic: Topic, letter: DeadLetter) -> str | None:
    """Publish a dead message; why it could not be."""
    try:
        message = _message.decode(letter.data)
        change = ChangeRow(
            int(letter.position),
            message.bet_id,
            message.version,
            message.user_id,
            message.change,
            message.status_before,
            message.status,
            bytes(message.bet).decode(),
            to_us(datetime.fromisoformat(message.changed_at)),
        )
    except (msgspec.MsgspecError, ValueError) as error:
        return f"not a message of the topic: {error}"
    done = topic.publish([change])
    return done.error or done.refused.get(change.sequence)


def _mark(connection: sa.Connection, reasons: Mapping[int, str | None], now_us: int) -> None:
    for dead_letter_id, reason in reasons.items():
        values = {"replayed_at_us": now_us} if reason is None else {"reason": reason}
        connection.execute(
            sa.update(dead_letters).where(dead_letters.c.dead_letter_id == dead_letter_id).values(**values)
        )
