"""Bet submission as a Dagster resource. Not here: what it does (exchange_platform/submission/service.py)."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from exchange_platform.settings import load_settings
from exchange_platform.submission import BetSubmission


class BetSubmissionResource(dg.ConfigurableResource[BetSubmission]):
    """Hands an op or asset a `BetSubmission` of its own, with its relay, and closes it at the end of
    the run.
    """

    data_dir: str | None = None
    """The embedded platform's directory; the environment's, unless given."""
    application: str | None = None
    """The name that is written beside what is asked for; the program's, unless given."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator[BetSubmission, None, None]:  # noqa: ARG002
        """Open it for a run."""
        settings = load_settings(Path(self.data_dir) if self.data_dir is not None else None)
        with BetSubmission(settings, application=self.application) as submission:
            yield submission
