"""Are the SQLite files of an embedded platform whole? Servers look after their own. Whether stores agree is
lake.py's and its neighbours'.
"""

from __future__ import annotations

from exchange_platform.operations.checks.outcomes import CheckOutcome, listed
from exchange_platform.process.clock import Clock
from exchange_platform.settings import Settings
from exchange_platform.stores.data_files import FILES, examinations, glances
from exchange_platform.stores.operational.sqlite_files import FileCondition

WHOLE_FILE_S = 60.0
"""How long a file is checked at most where all are."""
SHARE_S = 2.0
"""How long the one file is checked whose turn it is."""
_TURN_US = 15_000_000


def databases_whole(settings: Settings, clock: Clock, *, everything: bool = True) -> CheckOutcome:
    """Every SQLite file of the data directory is whole. A round looks at each one's header, and at the pages
    of one file in turn.
    """
    if settings.database_url is not None:
        return CheckOutcome(True, "the databases are on servers, which look after their own files")
    files = [file for file in FILES if (settings.data_dir / file.name).exists()]
    faults = {fault.file.name: fault for fault in glances(settings.data_dir)}
    turn = files if everything or not files else [files[clock.now_us() // _TURN_US % len(files)]]
    budget_s = WHOLE_FILE_S if everything else SHARE_S
    unfinished: list[str] = []
    for file, state, fault in examinations(settings.data_dir, budget_s, turn):
        if fault is not None:
            faults.setdefault(file.name, fault)
        elif state.condition is FileCondition.UNFINISHED:
            unfinished.append(file.name)
    figures: dict[str, int | float | str] = {
        "files": len(files),
        "checked": len(turn),
        "damaged": len(faults),
    }
    if faults:
        wrong = [f"{fault.found}; {fault.remedy}" for fault in faults.values()]
        return CheckOutcome(False, listed(wrong), figures, tuple(faults))
    share = f" ({turn[0].name} was checked in this round)" if turn and not everything else ""
    rest = (
        f"; too large to be checked to the end in {budget_s:g} s: {', '.join(unfinished)}"
        if unfinished
        else ""
    )
    return CheckOutcome(True, f"{len(files)} files are whole{share}{rest}", figures)
