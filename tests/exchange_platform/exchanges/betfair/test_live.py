"""Following Betfair live, against a server that speaks its stream from recordings and misbehaves: the state
after each equals the recording's.
"""

from __future__ import annotations

import bz2
import random
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from exchange_platform.domain.events import FeedUpdate, decode_update
from exchange_platform.domain.records import Execution, decode
from exchange_platform.exchanges.betfair.connection import Endpoint
from exchange_platform.exchanges.betfair.live import LiveStream, NotAllowed, Subscription
from exchange_platform.exchanges.betfair.live_book import LiveBook
from exchange_platform.exchanges.betfair.live_journal import (
    EXECUTION,
    UPDATE,
    LiveJournal,
    WaitingLine,
)
from exchange_platform.exchanges.betfair.messages import decode_line
from exchange_platform.exchanges.betfair.states import FeedStates
from exchange_platform.exchanges.betfair.volumes import VolumeLadders
from exchange_platform.process.back_off import BackOff
from tests.exchange_platform.exchanges.betfair.messages import definition, line, rc
from tests.exchange_platform.exchanges.betfair.stream_server import (
    APP_KEY,
    HEARTBEAT_MS,
    SESSION,
    Step,
    StreamServer,
    stream_server,
)
from tests.support.certificates import Certificate
from tests.support.platform_parts import wait_for

MARKETS = Subscription(market_ids=["1.2", "1.3"], heartbeat_ms=HEARTBEAT_MS)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("certificate"))


def made_lines(count: int = 200, *, seed: int = 1) -> list[bytes]:
    """Two markets of one event that trade, suspend, go in play, are re-rated, cleared and closed."""
    draw = random.Random(seed)
    lines = [
        line(0, marketDefinition=definition("OPEN", r7="ACTIVE", r8="ACTIVE"), img=True, market=market)
        for market in ("1.2", "1.3")
    ]
    sizes: Counter[tuple[str, int, str]] = Counter()
    while len(lines) < count - 6:
        ms, market = 400 * len(lines), draw.choice(["1.2", "1.3"])
        kind = draw.random()
        if kind < 0.03:
            lines.append(
                line(ms, marketDefinition=definition("SUSPENDED", r7="ACTIVE", r8="ACTIVE"), market=market)
            )
            again = definition("OPEN", r7="ACTIVE", r8="ACTIVE") | {"inPlay": True}
            lines.append(line(ms + 1, marketDefinition=again, market=market))
            continue
        selection, price = draw.choice([7, 8]), draw.choice(["1.5", "2", "2.02", "3.45"])
        place = (market, selection, price)
        sizes[place] += draw.randrange(1, 500) if kind < 0.95 or not sizes[place] else -1
        lines.append(line(ms, rc(selection, [(price, f"{sizes[place]}")]), market=market))
    for market in ("1.2", "1.3"):
        ms = 400 * len(lines)
        lines.append(
            line(ms, marketDefinition=definition("SUSPENDED", r7="ACTIVE", r8="ACTIVE"), market=market)
        )
        cleared = [
            rc(selection, [(price, "0") for of, one, price in sizes if (of, one) == (market, selection)])
            for selection in (7, 8)
        ]
        lines.append(line(ms + 1, *cleared, market=market))
        lines.append(
            line(ms + 2, marketDefinition=definition("CLOSED", r7="WINNER", r8="LOSER"), market=market)
        )
    return lines


def greyhounds(feeds: Path) -> list[bytes]:
    """Two markets of one race, recorded, merged by time."""
    lines = [
        recorded
        for name in ("1.197931750.bz2", "1.197931751.bz2")
        for recorded in bz2.decompress((feeds / name).read_bytes()).splitlines()
    ]
    return sorted(lines, key=lambda one: (decode_line(one) or pytest.fail("no message")).pt or 0)


@dataclass
class Known:
    """What is known by the end, and what led there."""

    volumes: dict[str, dict[tuple[int, Decimal], dict[Decimal, Decimal]]]
    newest: dict[str, FeedUpdate]
    executions: list[Execution]

    @property
    def trades(self) -> Counter[tuple[str, int, Decimal, Decimal, object]]:
        """The executions, whatever they are called."""
        return Counter(
            (one.market_id, one.selection_id, one.odds, one.stake, one.executed_at) for one in self.executions
        )


def volumes_of(ladders: VolumeLadders) -> dict[str, dict[tuple[int, Decimal], dict[Decimal, Decimal]]]:
    return {
        market_id: {place: dict(volume) for place, volume in market.volumes.items() if volume}
        for market_id, market in ladders._markets.items()
    }


def of_recording(lines: Sequence[bytes]) -> Known:
    """What the recording says when it is read as a file."""
    ladders, states = VolumeLadders(), FeedStates()
    newest: dict[str, FeedUpdate] = {}
    executions: list[Execution] = []
    for number, each in enumerate(lines, 1):
        message = decode_line(each)
        assert message is not None
        executions += ladders.apply(message, number).executions
        newest |= {_key(update): update for update in states.after(message, ladders.traded)}
    return Known(volumes_of(ladders), newest, executions)


def _key(update: FeedUpdate) -> str:
    return getattr(update, "market_id", update.event_id)


class SessionOnly:
    """Hands out sessions, one after the other."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens) or [SESSION]
        self.asked = 0

    def token(self, *, fresh: bool) -> str:
        self.asked += 1
        if fresh:
            self.tokens.pop(0)
        return self.tokens[0]


class Follower:
    """A stream that is followed in a thread, and what it has made of it."""

    def __init__(
        self,
        server: StreamServer,
        certificate: Certificate,
        directory: Path,
        *,
        subscription: Subscription = MARKETS,
        login: SessionOnly | None = None,
        app_key: str = APP_KEY,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.journal = LiveJournal(directory / "live.sqlite", subscription.criteria)
        self.book = LiveBook(self.journal)
        self.said: list[str] = []
        self.error: BaseException | None = None
        self.stream = LiveStream(
            Endpoint("127.0.0.1", server.port, context or certificate.client_context()),
            login or SessionOnly(),
            subscription,
            self.book,
            app_key=app_key,
            back_off=BackOff(first_s=0.02, max_s=30.0),
            on_change=self.said.append,
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.stream.run()
        except BaseException as error:
            self.error = error

    def until(self, condition: Callable[[], object], what: str = "") -> None:
        wait_for(lambda: self.error is not None or condition(), timeout_s=30, what=what)

    def stop(self) -> None:
        self.stream.stop()
        self._thread.join(15)
        assert not self._thread.is_alive()

    def outbox(self) -> list[WaitingLine]:
        return self.journal.waiting(10**6)

    def known(self) -> Known:
        waiting = self.outbox()
        updates = [decode_update(one.data) for one in waiting if one.kind == UPDATE]
        executions = [decode(one.data) for one in waiting if one.kind == EXECUTION]
        return Known(
            volumes_of(self.book.ladders),
            {_key(update): update for update in updates},
            [one for one in executions if isinstance(one, Execution)],
        )

    def close(self) -> None:
        self.stop()
        self.journal.close()


@contextmanager
def following(
    server: StreamServer, certificate: Certificate, directory: Path, **choices: object
) -> Iterator[Follower]:
    follower = Follower(server, certificate, directory, **choices)  # type: ignore[arg-type]
    try:
        yield follower
    finally:
        follower.close()


def followed(
    lines: Sequence[bytes], plan: Sequence[Step], certificate: Certificate, directory: Path
) -> tuple[Known, Follower, StreamServer]:
    """Play the plan to its end and all that was recorded; what is known then."""
    with (
        stream_server(lines, plan, certificate) as server,
        following(server, certificate, directory) as follower,
    ):
        heartbeats = follower.stream.following

        def is_at_the_end() -> bool:
            return (
                server.played.is_set()
                and follower.journal.clk == f"c{len(lines)}"
                and heartbeats.heartbeats > 0
            )

        follower.until(is_at_the_end, "all was followed")
        assert follower.error is None
        follower.stop()
        return follower.known(), follower, server


def whole(steps: Sequence[Step], count: int) -> list[Step]:
    """The steps, and then the rest of so many lines."""
    moved = sum(
        step[1] for step in steps if step[0] in ("send", "skip", "conflate", "unreliable", "segments")
    )
    return [*steps, ("send", count - moved), ("heartbeat",)]


LOSSLESS: dict[str, list[Step]] = {
    "nothing": [],
    "cuts": [("send", 20), ("cut",), ("send", 30), ("cut",), ("cut",), ("send", 1)],
    "cuts in a line": [("send", 20), ("cut_in_a_line",), ("send", 10)],
    "repeats": [("send", 40), ("repeat", 7), ("send", 5), ("repeat", 20), ("repeat", 20)],
    "503": [("send", 10), ("unreliable", 15), ("send", 10), ("unreliable", 1)],
    "silence": [("send", 25), ("silence",), ("send", 5)],
    "images of what is known": [("send", 30), ("image",), ("send", 10), ("image",), ("image",)],
}
MERGING: dict[str, list[Step]] = {
    "conflates": [("conflate", 20), ("send", 10), ("conflate", 60)],
    "cuts while things happen": [("send", 20), ("cut",), ("skip", 15), ("cut",), ("skip", 5), ("cut",)],
    "segments": [("send", 5), ("segments", 30), ("send", 3), ("segments", 10)],
    "lost segments": [("send", 21), ("half_a_segmented_message", 9), ("send", 5)],
}
LOSING: dict[str, list[Step]] = {
    "garbage": [("send", 20), ("garbage", b'{"op":"mcm","pt":'), ("send", 5)],
    "a message that can't be": [("send", 20), ("garbage", b'{"op":"mcm","mc":[]}'), ("skip", 5), ("send", 5)],
    "it can't resume": [("send", 30), ("skip", 20), ("cut",), ("refuse", "INVALID_CLOCK"), ("send", 5)],
    "a new image after things happened": [("send", 30), ("skip", 40), ("image",), ("send", 5)],
}
ALL = LOSSLESS | MERGING | LOSING


@pytest.mark.parametrize("misbehaviour", ALL)
def test_the_state_after_each_misbehaviour_equals_the_recording_s(
    misbehaviour: str, certificate: Certificate, tmp_path: Path
) -> None:
    lines = made_lines()
    expected = of_recording(lines)
    plan = whole(ALL[misbehaviour], len(lines))
    known, follower, server = followed(lines, plan, certificate, tmp_path)
    assert known.volumes == expected.volumes
    assert known.newest == expected.newest
    assert len({one.execution_id for one in known.executions}) == len(known.executions)
    if misbehaviour in LOSSLESS:
        assert known.trades == expected.trades
        for market_id in expected.volumes:
            ids = [one.execution_id for one in known.executions if one.market_id == market_id]
            assert ids == sorted(ids)
    assert all(
        (one["marketFilter"], one["marketDataFilter"])
        == (server.subscriptions[0]["marketFilter"], server.subscriptions[0]["marketDataFilter"])
        for one in server.subscriptions
    )
    ended = sum(
        step[0] in ("cut", "cut_in_a_line", "silence", "garbage", "refuse", "half_a_segmented_message")
        for step in plan
    )
    assert follower.stream.following.connections == 1 + ended


@pytest.mark.parametrize("misbehaviour", ["nothing", "cuts", "repeats", "503", "silence", "conflates"])
def test_the_same_on_recorded_races(
    misbehaviour: str, feeds: Path, certificate: Certificate, tmp_path: Path
) -> None:
    lines = greyhounds(feeds)
    expected = of_recording(lines)
    known, _, _ = followed(lines, whole(ALL[misbehaviour], len(lines)), certificate, tmp_path)
    assert known.volumes == expected.volumes
    assert known.newest == expected.newest
    if misbehaviour in LOSSLESS:
        assert known.trades == expected.trades


@pytest.mark.faults
def test_a_recorded_match_with_every_misbehaviour_at_random(
    feeds: Path, certificate: Certificate, tmp_path: Path
) -> None:
    lines = bz2.decompress((feeds / "1.200806927.bz2").read_bytes()).splitlines()
    draw = random.Random(7)
    steps: list[Step] = []
    left = len(lines) - 50
    while left > 300:
        count = draw.randrange(1, 300)
        step: Step = draw.choice(
            [("send", count)] * 6
            + [
                ("conflate", count),
                ("unreliable", count),
                ("cut",),
                ("cut_in_a_line",),
                ("image",),
                ("repeat", 50),
            ]
        )
        if step == ("cut",):
            steps += [("skip", count), step]
            left -= count
            continue
        steps.append(step)
        left -= count if step[0] in ("send", "conflate", "unreliable") else 0
    expected = of_recording(lines)
    known, follower, _ = followed(lines, whole(steps, len(lines)), certificate, tmp_path)
    assert known.volumes == expected.volumes
    assert known.newest == expected.newest
    assert follower.stream.following.resumptions > 5


def test_a_connection_that_is_cut_is_resumed_where_it_was(certificate: Certificate, tmp_path: Path) -> None:
    lines = made_lines()
    _, follower, server = followed(lines, whole([("send", 20), ("cut",)], len(lines)), certificate, tmp_path)
    first, second = server.subscriptions
    assert ("initialClk" in first, "clk" in first) == (False, False)
    assert (second["initialClk"], second["clk"]) == ("initial", "c20")
    assert (follower.stream.following.images, follower.stream.following.resumptions) == (1, 1)
    assert follower.said[0] == "connected, from images"
    assert follower.said[1].startswith("not connected: ")
    assert follower.said[2] == "connected, resumed"


def test_unreliable_data_is_said_and_no_reason_to_disconnect(
    certificate: Certificate, tmp_path: Path
) -> None:
    lines = made_lines()
    plan = whole([("send", 5), ("unreliable", 10)], len(lines))
    _, follower, server = followed(lines, plan, certificate, tmp_path)
    assert follower.said == ["connected, from images", "data unreliable (503)", "data reliable again"]
    assert len(server.subscriptions) == 1


def test_silence_for_two_heartbeats_is_taken_for_death(certificate: Certificate, tmp_path: Path) -> None:
    lines = made_lines()
    _, follower, _ = followed(lines, whole([("send", 5), ("silence",)], len(lines)), certificate, tmp_path)
    assert follower.stream.following.troubles == ["silent for 1.1 s"]


def test_repeats_are_passed_over(certificate: Certificate, tmp_path: Path) -> None:
    lines = made_lines()
    _, follower, _ = followed(lines, whole([("send", 30), ("repeat", 12)], len(lines)), certificate, tmp_path)
    assert follower.book.repeats == 12


def test_a_process_that_died_goes_on_where_it_was_and_nothing_is_lost_or_comes_twice(
    certificate: Certificate, tmp_path: Path
) -> None:
    lines = made_lines()
    expected = of_recording(lines)
    plan = [("send", 70), ("silence",), ("send", len(lines) - 70), ("heartbeat",)]
    with stream_server(lines, plan, certificate) as server:
        with following(server, certificate, tmp_path) as first:
            first.until(lambda: first.journal.clk == "c70", "some was followed")
        with following(server, certificate, tmp_path) as second:
            second.until(lambda: second.journal.clk == f"c{len(lines)}", "the rest was followed")
            second.stop()
            known = second.known()
        assert server.subscriptions[-1]["clk"] == "c70"
    assert known.volumes == expected.volumes
    assert known.newest == expected.newest
    assert known.trades == expected.trades


def test_another_subscription_begins_anew(certificate: Certificate, tmp_path: Path) -> None:
    lines = made_lines()
    plan = [("send", 70), ("silence",), ("heartbeat",)]
    with stream_server(lines, plan, certificate) as server:
        with following(server, certificate, tmp_path) as first:
            first.until(lambda: first.journal.clk == "c70")
        other = Subscription(event_type_ids=["4339"], heartbeat_ms=HEARTBEAT_MS)
        with following(server, certificate, tmp_path, subscription=other) as second:
            second.until(lambda: second.stream.following.heartbeats)
        assert "clk" not in server.subscriptions[-1]
        assert server.subscriptions[-1]["marketFilter"] == {"eventTypeIds": ["4339"]}


def test_a_server_that_is_not_trusted_is_told_nothing(certificate: Certificate, tmp_path: Path) -> None:
    with (
        stream_server(made_lines(), [], certificate) as server,
        following(server, certificate, tmp_path, context=ssl.create_default_context()) as follower,
    ):
        follower.until(lambda: len(follower.stream.following.troubles) > 1)
        assert "certificate" in follower.stream.following.troubles[0].lower()
        assert server.authentications == []


def test_a_key_that_is_refused_ends_it_with_the_reason(certificate: Certificate, tmp_path: Path) -> None:
    with (
        stream_server(made_lines(), [], certificate) as server,
        following(server, certificate, tmp_path, app_key="another") as follower,
    ):
        follower.until(lambda: False)
        assert isinstance(follower.error, NotAllowed)
        assert str(follower.error) == "Betfair refuses: INVALID_APP_KEY: as planned"
        assert len(server.authentications) == 1


def test_a_session_that_is_over_is_followed_by_another(certificate: Certificate, tmp_path: Path) -> None:
    lines = made_lines()
    login = SessionOnly("an-old-one", SESSION)
    with stream_server(lines, whole([], len(lines)), certificate) as server:
        server.refuse_session.add("an-old-one")
        with following(server, certificate, tmp_path, login=login) as follower:
            follower.until(lambda: follower.journal.clk == f"c{len(lines)}")
        assert [one["session"] for one in server.authentications] == ["an-old-one", SESSION]


def test_nothing_that_is_sent_is_logged(
    certificate: Certificate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    followed(made_lines(), whole([], 200), certificate, tmp_path)
    assert "connected, from images" in caplog.text
    assert SESSION not in caplog.text
    assert APP_KEY not in caplog.text


def test_pauses_between_tries_grow(certificate: Certificate, tmp_path: Path) -> None:
    with (
        stream_server(made_lines(), [("refuse", "TOO_MANY_REQUESTS")] * 5, certificate) as server,
        following(server, certificate, tmp_path) as follower,
    ):
        follower.until(lambda: len(server.subscriptions) == 6)
        pauses = [
            float(said.split("in ")[-1].removesuffix(" s")) for said in follower.said if "another try" in said
        ]
        assert len(pauses) == 5
        assert pauses[-1] > 4 * max(pauses[0], 0.05)
