"""What a piece of the platform asks of AWS: the requests that an emulator gets, kept by who asked. Not here:
what they must be allowed (iam_of_requests.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from tests.deployments.iam_of_requests import Call, Request, calls, given_out


class Recorder:
    """A WSGI application that hands on to another, and keeps what was asked of it while a task is at work."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._task: str | None = None
        self._iterators: dict[str, str] = {}
        self.calls: dict[str, set[Call]] = {}
        """Of each task: what it must be allowed."""

    @contextmanager
    def at_work(self, task: str) -> Iterator[None]:
        """What comes meanwhile is asked by the task: nobody else may be at work. Raises `RuntimeError` if
        somebody is.
        """
        if self._task is not None:
            raise RuntimeError(f"{self._task} is at work: what {task} asks can't be told apart")
        self._task = task
        try:
            yield
        finally:
            self._task = None

    def was_asked(self, task: str, action: str) -> bool:
        """Whether the task has asked for that by now, of whatever resource."""
        return any(call.action == action for call in tuple(self.calls.get(task, ())))

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if self._task is None:
            handed_on: Iterable[bytes] = self._application(environ, start_response)
            return handed_on
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        request = Request.of(environ, body)
        self.calls.setdefault(self._task, set()).update(calls(request, self._iterators))
        answer = b"".join(self._application(environ, start_response))
        self._iterators.update(given_out(request, answer, self._iterators))
        return [answer]
