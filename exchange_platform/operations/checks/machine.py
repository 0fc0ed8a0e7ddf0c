"""Has the machine of a local platform what it needs? What it is asked for stands in machine.py."""

from __future__ import annotations

from exchange_platform.operations.checks.outcomes import CheckOutcome
from exchange_platform.operations.machine_faults import machine_faults
from exchange_platform.process.machine import room_at
from exchange_platform.settings import Settings


def machine_well(settings: Settings) -> CheckOutcome:
    """The disk has room, limits and memory suffice, and no program keeps dying."""
    if settings.database_url is not None:
        return CheckOutcome(True, "no local platform: the deployment's own alarms watch its machines")
    faults = machine_faults(settings)
    room = room_at(settings.data_dir, probe=False)
    figures: dict[str, int | float | str] = {"free_mib": room.free_bytes // 1024**2, "faults": len(faults)}
    if faults:
        return CheckOutcome(False, "; ".join(faults), figures)
    return CheckOutcome(True, f"{room.text}; limits and memory suffice", figures)
