"""What `up` does about damaged files: it refuses to start on those that nothing can replace, and sets the
others aside.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from exchange_platform.local.running import CannotStart
from exchange_platform.stores.data_files import examinations, set_aside

_EXAMINED_S = 3.0
"""How long each file is examined at most."""


def refuse_damage(data_dir: Path) -> list[str]:
    """Raise `CannotStart` for a damaged file that nothing can replace; others are set aside. Returns what
    there is to say of these.
    """
    said: list[str] = []
    refused: list[str] = []
    for _, _, fault in examinations(data_dir, _EXAMINED_S):
        if fault is None:
            continue
        if not fault.starts_anyway:
            refused.append(f"{fault.found}. To go on: {fault.remedy}")
        elif fault.path.exists():
            said.append(
                f"{fault.found}. It is set aside as {set_aside(fault, datetime.now(UTC))}, and a new one is made"
            )
        else:
            said.append(f"{fault.found}. A new one is made")
    if refused:
        raise CannotStart("; ".join(refused))
    return said
