"""Submitting as a process of its own, for tests that start many of them. Not here: processes that are killed
(tests/faults/).
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

from exchange_platform.domain.bet_requests import encode_answer
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database
from exchange_platform.submission import BetSubmission
from tests.exchange_platform.betting import order
from tests.exchange_platform.recording import RecordingStream


def submit_one(url: str, data_dir: Path, submission_id: str, begin: Barrier, answers: Connection) -> None:
    """Submit one bet when all others do, and send the answer back."""
    database = Database(url, durable=True)
    with BetSubmission(
        Settings(data_dir=data_dir), database=database, publisher=RecordingStream()
    ) as submission:
        begin.wait(60)
        answers.send(encode_answer(submission.submit(order(submission_id))))
    database.dispose()


def submit_at_once(url: str, data_dir: Path, submission_id: str, processes: int) -> list[str]:
    """The answers of so many processes that submit the same at the same time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # one process imports all, the others are copies of it
    begin = context.Barrier(processes)
    pipes = [context.Pipe(duplex=False) for _ in range(processes)]
    started = [
        context.Process(target=submit_one, args=(url, data_dir, submission_id, begin, there))
        for _, there in pipes
    ]
    for process in started:
        process.start()
    answers = [str(here.recv()) for here, _ in pipes if here.poll(60)]
    for process in started:
        process.join(60)
    return answers
