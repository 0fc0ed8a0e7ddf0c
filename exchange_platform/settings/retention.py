"""Settings of what is kept for how long."""

from __future__ import annotations

from pydantic import Field

from exchange_platform.settings.section import Section


class RetentionSettings(Section):
    """For how long what is done with is kept."""

    notifications_kept_days: float = Field(
        30.0, gt=0, description="How long changes and mails are kept after they were delivered."
    )
    published_orders_kept_days: float = Field(
        7.0, ge=1, description="How long orders are kept after they were published."
    )
    security_events_kept_days: float = Field(
        90.0, ge=1, description="How long the log of security events is kept."
    )
    runs_kept_days: float = Field(
        7.0,
        gt=0,
        description="How long Dagster's runs, with their events and output, and the rows of consumers are kept after their end.",
    )
    failed_runs_kept_days: float = Field(30.0, gt=0, description="The same for runs that failed.")
    lake_snapshots_kept_hours: float = Field(
        1.0,
        gt=0,
        description="How long a state of the lake can still be read after the next; a query that takes longer loses its files.",
    )
    lake_orphans_kept_hours: float = Field(
        24.0,
        ge=3,
        description="How old a file of the lake that its catalog does not know must be to be deleted: longer than any transaction.",
    )
    purge_budget_s: float = Field(
        300.0, gt=0, description="How long one hourly round may go on deleting one kind of what is old."
    )
    purge_behind_days: float = Field(
        1.0,
        gt=0,
        description="What should have been deleted so long ago and is still there fails the check purges_keep_up.",
    )
