"""Bulkheads: each kind of work has threads of its own, so that no kind waits behind another. Which kind a
route does stands at its router.

A route that is a plain function runs in a thread. In one pool for all, reads of a slow lake would take every
thread, and money, accounts and the health check would wait behind them.
"""

from __future__ import annotations

import enum
import functools
import inspect
import math
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, TypeVar

import anyio
import anyio.to_thread
from fastapi.routing import APIRoute

from exchange_platform.api.http.problems import Problem

T = TypeVar("T")

MAX_WAIT_S = 5.0
"""How long a request waits for a thread of its kind before it is answered with 503."""
MAX_WAITING = 200
"""How many requests of one kind may wait; more are answered with 503 at once."""


class Work(enum.Enum):
    """The kinds of work, and how many threads each may take at once."""

    HEALTH = "health"
    TOKENS = "tokens"
    """Looking which tokens there are: nobody who shows one waits behind anything else."""
    MONEY = "money"
    """Bets, wallets, limits: what an acknowledgement to an application waits for."""
    ACCOUNTS = "accounts"
    """Accounts, confirmations, mail preferences."""
    EVENTS = "events"
    """Events by id and in lists, from the operational database."""
    SEARCH = "search"
    """The event index."""
    WINDOWS = "windows"
    """Reads of the lake."""
    BOARD = "board"
    """Pages of the board, which read events and the lake."""


THREADS = {
    Work.HEALTH: 4,
    Work.TOKENS: 2,
    Work.MONEY: 40,
    Work.ACCOUNTS: 10,
    Work.EVENTS: 10,
    Work.SEARCH: 10,
    Work.WINDOWS: 6,
    Work.BOARD: 10,
}
"""Money has what the whole API had before there were bulkheads: a group commit is fast because many wait for
it together.
"""


class Bulkheads:
    """The threads of one API process, by kind of work."""

    def __init__(self, *, max_wait_s: float = MAX_WAIT_S, max_waiting: int = MAX_WAITING) -> None:
        self._limiters = {work: anyio.CapacityLimiter(threads) for work, threads in THREADS.items()}
        self._threads = anyio.CapacityLimiter(math.inf)
        self._max_wait_s = max_wait_s
        self._max_waiting = max_waiting

    async def run(self, work: Work, call: Callable[[], T]) -> T:
        """Run the call in a thread of its kind, waiting for one as long as is allowed. Raises `Problem` (503,
        `busy`) when there is none.
        """
        limiter = self._limiters[work]
        borrower = object()
        if limiter.borrowed_tokens < limiter.total_tokens:
            limiter.acquire_on_behalf_of_nowait(borrower)
        else:
            await self._wait(work, limiter, borrower)
        try:
            return await anyio.to_thread.run_sync(call, limiter=self._threads)
        finally:
            limiter.release_on_behalf_of(borrower)

    async def _wait(self, work: Work, limiter: anyio.CapacityLimiter, borrower: object) -> None:
        if limiter.statistics().tasks_waiting >= self._max_waiting:
            raise _busy(work)
        try:
            with anyio.fail_after(self._max_wait_s):
                await limiter.acquire_on_behalf_of(borrower)
        except TimeoutError:
            raise _busy(work) from None


def _busy(work: Work) -> Problem:
    return Problem(
        503,
        "busy",
        f"too many requests of this kind ({work.value}) are being answered; nothing was changed, try again",
        headers={"Retry-After": "2"},
    )


class _PooledRoute(APIRoute):
    """A route whose plain function runs in the threads of its kind. Functions that wait for nothing are
    `async` and run as they are.
    """

    work: ClassVar[Work]

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        plain = not inspect.iscoroutinefunction(endpoint)
        super().__init__(path, _pooled(endpoint, self.work) if plain else endpoint, **options)


def pooled(work: Work) -> type[APIRoute]:
    """The `route_class` of a router whose routes do that kind of work. Each takes the application's services
    as `services`.
    """
    return type(f"{work.value.capitalize()}Route", (_PooledRoute,), {"work": work})


def _pooled(endpoint: Callable[..., Any], work: Work) -> Callable[..., Awaitable[Any]]:
    if "services" not in inspect.signature(endpoint).parameters:
        raise TypeError(
            f"{endpoint.__qualname__} needs `services: AppState` to run in the threads for {work.value}"
        )

    @functools.wraps(endpoint)
    async def run(**values: Any) -> Any:
        bulkheads: Bulkheads = values["services"].bulkheads
        return await bulkheads.run(work, functools.partial(endpoint, **values))

    return run
