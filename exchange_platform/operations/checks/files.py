"""Are the files that the stores keep whole? Whether the stores agree is lake.py's and its neighbours'."""

from __future__ import annotations

from exchange_platform.operations.checks.outcomes import MAX_NAMED, CheckOutcome, listed
from exchange_platform.process.clock import Clock
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.lake import losses as lake_losses
from exchange_platform.stores.lake.damage import REMEDY
from exchange_platform.stores.lake.inspection import CONTENT_BYTES, OUTER_FILES, inspect
from exchange_platform.stores.lake.losses import LossState


def lake_files_whole(lake: Lake, clock: Clock, *, everything: bool = True) -> CheckOutcome:
    """Every file of the lake is whole, and what damaged ones held was restored, or its loss accepted.

    A round looks at every file's size and footer, and reads new files and a share of the others. A loss that
    was accepted is mentioned for ever.
    """
    found = inspect(
        lake.connection,
        clock.now_us(),
        content_bytes=None if everything else CONTENT_BYTES,
        outer_files=None if everything else OUTER_FILES,
    )
    known = lake_losses.losses(lake.connection)
    open_losses = [lake_losses.count(lake.connection, loss) for loss in known if loss.state is LossState.OPEN]
    accepted = [loss for loss in known if loss.state is LossState.ACCEPTED]
    figures: dict[str, int | float | str] = {
        "files": found.files,
        "read": found.read,
        "damaged": len(found.damaged),
        "open_losses": len(open_losses),
        "accepted_missing_rows": sum(loss.missing_rows for loss in accepted),
    }
    wrong = [
        *(f"damaged: {one.described}" for one in found.damaged),
        *(f"taken out: {loss.described}" for loss in open_losses),
        *(f"can't be read: {reason}" for reason in found.unreadable),
    ]
    if wrong:
        remedy = f"; {REMEDY}" if found.damaged or open_losses else ""
        return CheckOutcome(False, listed(wrong) + remedy, figures, tuple(wrong[:MAX_NAMED]))
    share = "" if everything else f" ({found.read} were read in this round)"
    gaps = "; accepted: " + listed(loss.described for loss in accepted) if accepted else ""
    return CheckOutcome(True, f"{found.files} files are whole{share}{gaps}", figures)
