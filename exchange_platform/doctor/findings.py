"""What a check of a part finds. Not here: the checks (diagnosis.py and its neighbours)."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec

from exchange_platform.stores.checkpoints import StoreDamaged

REMEDIES = {
    "operational database": "is its server up, and are EXCHANGE_PLATFORM_DATABASE_URL and its password right?",
    "application tokens": "`exchange-platform migrate` makes their table",
    "lake": "is its catalog reachable (EXCHANGE_PLATFORM_LAKE_CATALOG), its data readable (EXCHANGE_PLATFORM_LAKE_DATA_PATH)?",
    "event index": "Elasticsearch: is it up, and are EXCHANGE_PLATFORM_ELASTICSEARCH_URL and its API key right? The embedded index"
    " (no URL): it is a copy, the job rebuild_event_index fills it again",
    "dagster": "see logs/dagster-webserver.log and logs/code-server.log in the data directory",
}
"""What to do about a part whose check itself failed."""


class Level(StrEnum):
    """How a part is."""

    FINE = "fine"
    """As it should be."""
    NOTE = "note"
    """Worth knowing; nothing need be done."""
    WRONG = "wrong"
    """Something has to be done; the finding says what."""


class Finding(msgspec.Struct, frozen=True):
    """What a check found of a part, and what to do about it (empty: nothing)."""

    part: str
    level: Level
    found: str
    remedy: str = ""


def safely(part: str, check: Callable[[], Finding]) -> Finding:
    """What the check finds; an error of it is a finding, too."""
    try:
        return check()
    except StoreDamaged as damage:  # it says what to do
        return Finding(part, Level.WRONG, " ".join(str(damage).split()))
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        return Finding(part, Level.WRONG, text[:500], REMEDIES.get(part, ""))
