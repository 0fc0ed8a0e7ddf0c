"""Settings of consumer runs and windows."""

from __future__ import annotations

from pydantic import Field

from exchange_platform.settings.section import Section


class ConsumerSettings(Section):
    """How consumer runs read, write, report and are replaced; when windows close."""

    poll_interval_s: float = Field(
        0.2, ge=0.2, le=60, description="Pause between reads of a shard; Kinesis allows 5 a second."
    )
    lake_interval_s: float = Field(
        0.5, gt=0, le=60, description="How often the lake takes what has gathered."
    )
    profile_view_interval_s: float = Field(
        0.4, gt=0, le=60, description="How often the profile view takes what has gathered."
    )
    event_index_interval_s: float = Field(
        0.1, gt=0, le=60, description="How often the event index takes what has gathered."
    )
    max_buffered_records: int = Field(
        80_000,
        ge=1000,
        description="Records held in memory by a consumer run. A sink that falls further behind reads again what it missed.",
    )
    max_buffered_bytes: int = Field(
        64 * 1024 * 1024,
        ge=4 * 1024 * 1024,
        description="The same in bytes of the records as they arrive; decoded they take a few times as much.",
    )
    degraded_limit_s: float = Field(
        300.0,
        gt=0,
        description="A sink that has refused everything for so long (a permission, a changed table, a defect) ends its run, and the sensor starts another.",
    )
    run_duration_s: float = Field(
        900.0, gt=0, description="How long a consumer run lives before it hands over."
    )
    report_interval_s: float = Field(
        10.0, gt=0, description="How often a consumer run reports materialisations."
    )
    hand_over_lead_s: float = Field(
        30.0, ge=0, description="How long before a run's end its successor is requested."
    )
    run_start_s: float = Field(
        12.0,
        gt=0,
        description="How long a requested run may take to begin before another is requested; Fargate takes a minute.",
    )
    stale_heartbeat_s: float = Field(
        4.0,
        gt=1,
        description="A consumer without a heartbeat for so long is reported; it is taken for dead if nobody can say whether its process runs.",
    )
    hung_after_s: float = Field(
        60.0,
        gt=1,
        description="A consumer whose process runs, but without a heartbeat for so long, is hung: it is ended and replaced.",
    )
    watermark_delay_s: float = Field(
        30.0, ge=0, description="How far a market's watermark lies behind its newest event time."
    )
    silent_market_s: float = Field(
        60.0, gt=0, description="A market without news for so long (wall-clock) has its windows closed."
    )
