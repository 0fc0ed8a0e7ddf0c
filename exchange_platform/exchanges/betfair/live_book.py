"""What follows from a live stream's messages, kept so that a process that dies loses nothing. Not here: the
stream (live.py), publishing.
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b

import msgspec

from exchange_platform.exchanges.betfair.connection import Envelope
from exchange_platform.exchanges.betfair.live_journal import LiveJournal
from exchange_platform.exchanges.betfair.messages import Message, decode_line
from exchange_platform.exchanges.betfair.recorded import FirstOf
from exchange_platform.exchanges.betfair.states import FeedStates
from exchange_platform.exchanges.betfair.volumes import VolumeLadders, VolumeRefused

REPEATS_KNOWN = 10_000
"""So many of the newest messages are recognised when they come again."""
_FORGET_AFTER_MS = 3_600_000
_FORGET_EVERY = 1000
_LINES = 10**8
"""A line's number has eight digits in an execution's id."""
_encode = msgspec.msgpack.Encoder().encode


class LiveBook:
    """Volumes, events and markets as of the newest message, and what followed from each: executions, updates,
    restatements in the journal.

    The rule of derivation is the recordings' (volumes.py). A message that comes again is passed over: an
    older one would take volume back.
    """

    def __init__(self, journal: LiveJournal) -> None:
        """Take up what the journal knows."""
        self.repeats = 0
        self.conflated = 0
        self.executions = 0
        self.updates = 0
        self.restatements = 0
        self.refused: FirstOf[VolumeRefused] = FirstOf()
        self.ladders = VolumeLadders()
        self.newest_at_ms = 0
        self._journal = journal
        self._states = FeedStates()
        self._known: set[bytes] = set()
        self._order: deque[bytes] = deque()
        for message in journal.markets():
            self.ladders.apply(message, 0)
            self._states.after(message, self.ladders.traded)  # told before

    @property
    def tokens(self) -> tuple[str | None, str | None]:
        """(initialClk, clk) of the newest message that was taken, or Nones."""
        journal = self._journal
        return (journal.initial_clk, journal.clk) if journal.initial_clk and journal.clk else (None, None)

    def begin_anew(self) -> None:
        """Forget the tokens: the next subscription brings images."""
        self._journal.begin_anew()

    def take(self, line: bytes, envelope: Envelope) -> None:
        """Take a line of the market stream; what follows from it is durable on return. Raises
        `Undecodable`.
        """
        message = decode_line(line)
        if message is None:
            return
        if self._is_repeat(message, envelope):
            self.repeats += 1
            return
        journal = self._journal
        derived = self.ladders.apply(message, (journal.messages + 1) % _LINES)
        updates = self._states.after(message, self.ladders.traded)
        tokens = (
            (envelope.initial_clk or journal.initial_clk, envelope.clk or journal.clk)
            if envelope.may_resume_here
            else None
        )
        journal.take(message, tokens, derived, updates)
        self.newest_at_ms = max(self.newest_at_ms, message.pt or 0)
        self.conflated += any(change.con for change in message.mc or ())
        self.executions += len(derived.executions)
        self.restatements += len(derived.restatements)
        self.updates += len(updates)
        self.refused.add(derived.refused)
        if journal.messages % _FORGET_EVERY == 0:
            over = self._states.forget_closed(self.newest_at_ms - _FORGET_AFTER_MS)
            self.ladders.forget(over)
            journal.forget(over)

    def _is_repeat(self, message: Message, envelope: Envelope) -> bool:
        if not message.mc:
            return False
        key = blake2b(_encode((envelope.clk, message)), digest_size=16).digest()
        if key in self._known:
            return True
        self._known.add(key)
        self._order.append(key)
        if len(self._order) > REPEATS_KNOWN:
            self._known.discard(self._order.popleft())
        return False
