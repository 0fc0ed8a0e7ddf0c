"""How many runs Dagster must let run at once for the consumers that the settings name, and how many it does.
The limits themselves stand in dagster.yaml.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from exchange_platform.confirmation.mail_requests import CONFIRMATIONS
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.bets.outbox import NOTIFICATIONS
from exchange_platform.streams.engine.sharing import consumer_names
from exchange_platform.streams.sources.names import EXCHANGE_BETS, EXCHANGE_FEED

SUPERVISED = (EXCHANGE_BETS, EXCHANGE_FEED, NOTIFICATIONS, CONFIRMATIONS)
"""The sources of which a run is always alive."""
OTHER_RUNS = 6
"""Housekeeping, reconciliation, and those that recompute or rebuild something, at once."""
_WITH_ITS_SUCCESSOR = 2


def slots_needed(settings: Settings) -> int:
    """How many runs may have to run at once: each consumer with its successor, and the others."""
    consumers = sum(len(consumer_names(settings, source)) for source in SUPERVISED)
    return _WITH_ITS_SUCCESSOR * consumers + OTHER_RUNS


def limits_too_low(settings: Settings, limits: dict[str, Any]) -> str | None:
    """What in `concurrency.runs` of a dagster.yaml is less than the settings need, and the way out; None:
    nothing.
    """
    most = limits.get("max_concurrent_runs", 10)
    needed = slots_needed(settings)
    if 0 <= most < needed:
        return (
            f"max_concurrent_runs is {most}, and BETS_CONSUMERS={settings.bets_consumers} needs {needed}:"
            " a consumer's successor may find no place"
        )
    for limit in limits.get("tag_concurrency_limits") or ():
        if limit.get("key") == "source" and limit.get("limit", 0) < _WITH_ITS_SUCCESSOR:
            return f"the limit of the tag source is {limit.get('limit')}: a successor overlaps its predecessor, so 2 are needed"
    return None


def dagster_yaml(settings: Settings) -> Path | None:
    """The file that configures Dagster's instance: of the embedded platform, or of this container; None where
    there is none here.
    """
    homes = [settings.data_dir / "dagster"]
    if os.environ.get("DAGSTER_HOME"):
        homes.append(Path(os.environ["DAGSTER_HOME"]))
    return next((home / "dagster.yaml" for home in homes if (home / "dagster.yaml").is_file()), None)
