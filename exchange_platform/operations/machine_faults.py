"""Everything that is wrong with the machine of a local platform, for whoever reports it: status.py,
checks/machine.py, doctor.py.
"""

from __future__ import annotations

from exchange_platform.process.machine import faults_of
from exchange_platform.settings import FAULTS, Settings, read_platform_file


def machine_faults(settings: Settings) -> list[str]:
    """What the machine lacks now, and what `up` saw going wrong on it; nothing is known of a deployment's
    machines.
    """
    if settings.database_url is not None:
        return []
    noted = read_platform_file(settings.data_dir).get(FAULTS, [])
    found = [fault.text for fault in faults_of(settings.data_dir)]
    parts = {text.partition(":")[0] for text in found}
    return found + [str(text) for text in noted if str(text).partition(":")[0] not in parts]
