"""A call that is sent again is answered as before, and done once; one that failed for the server's reasons is
done again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from exchange_platform.local.emulator import repeats as emulated_repeats
from exchange_platform.local.emulator.repeats import Repeats


class Counting:
    """Answers with how often it was asked."""

    def __init__(self, *statuses: str) -> None:
        self.statuses = list(statuses)
        self.asked = 0

    def __call__(self, _environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        self.asked += 1
        status = self.statuses.pop(0) if self.statuses else "200 OK"
        start_response(status, [("X-Asked", str(self.asked))])
        return [b"answer ", str(self.asked).encode()]


def ask(application: Any, call: str | None, attempt: int = 1) -> tuple[str, list[tuple[str, str]], bytes]:
    told: list[Any] = []
    environ: dict[str, Any] = {"HTTP_AMZ_SDK_REQUEST": f"attempt={attempt}; max=5"}
    if call is not None:
        environ["HTTP_AMZ_SDK_INVOCATION_ID"] = call
    content = b"".join(application(environ, lambda *said: told.extend(said)))
    return told[0], told[1], content


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request"])
def test_what_is_sent_again_is_answered_as_before(status: str) -> None:
    counting = Counting(status)
    application = Repeats(counting)
    first = ask(application, "one")
    assert first == (status, [("X-Asked", "1")], b"answer 1")
    assert ask(application, "one", attempt=2) == ask(application, "one", attempt=3) == first
    assert counting.asked == 1
    assert ask(application, "another", attempt=2)[2] == b"answer 2"  # of which nothing had come


def test_what_failed_for_the_server_s_reasons_is_done_again() -> None:
    counting = Counting("500 Internal Server Error")
    application = Repeats(counting)
    assert ask(application, "one")[0] == "500 Internal Server Error"
    assert ask(application, "one", attempt=2)[0] == "200 OK"


def test_calls_that_no_sdk_sends_are_handed_on() -> None:
    counting = Counting()
    application = Repeats(counting)
    ask(application, None, attempt=2)
    ask(application, None, attempt=2)
    assert counting.asked == 2


def test_old_answers_are_forgotten_and_long_ones_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulated_repeats, "KEPT", 2)
    counting = Counting()
    application = Repeats(counting)
    for call in ("one", "two", "three"):
        ask(application, call)
    assert ask(application, "three", attempt=2)[2] == b"answer 3"
    assert ask(application, "one", attempt=2)[2] == b"answer 4"
    monkeypatch.setattr(emulated_repeats, "LONGEST", 3)
    ask(application, "four")
    assert ask(application, "four", attempt=2)[2] == b"answer 6"
