"""Which runs come first, and which of them may run at once, as tags and a pool that Dagster's queue reads.
The limits stand in dagster.yaml.

Consumers and deliveries have no limit but their own: at most three runs of each share at once. Everything
else is bounded, so that it can't take the room of theirs: each small job runs once at a time, a backfill has
one run at a time, and of the jobs that write the lake beside the consumers two run at once.
"""

ONE_AT_A_TIME = "one_at_a_time"
"""The tag of which each value may run once at a time."""
LAKE_WRITERS = "lake_writers"
"""The pool of the jobs that write the lake beside the consumers. A consumer is never in it: it would wait for
a backfill.
"""
SMALL_JOB_ENDS_S = 3600
"""A run of a small job that died with its code server holds its only place until then."""

LONG_LIVED = {"dagster/priority": "10"}
"""Consumers and deliveries: what the platform is there for."""


def soon(job: str) -> dict[str, str]:
    """The tags of a small job that somebody waits for."""
    return _small(job, 5)


def whenever(job: str) -> dict[str, str]:
    """The tags of housekeeping. Only backfills come later: they have Dagster's own priority, 0."""
    return _small(job, 1)


def _small(job: str, priority: int) -> dict[str, str]:
    return {
        "dagster/priority": str(priority),
        "dagster/max_runtime": str(SMALL_JOB_ENDS_S),
        ONE_AT_A_TIME: job,
    }
