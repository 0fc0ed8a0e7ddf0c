"""`python -m deployments.set_back_clock`: lets Dagster's sensors tick again at once after the clock was set
back.

Dagster waits a sensor's interval from its last tick; after a tick that lies an hour ahead no sensor ticks for
an hour, so nobody starts consumer runs. `exchange-platform up` runs this when it sees the clock jump back, or
finds such ticks when it starts.
"""

from __future__ import annotations

import sys
import threading
import time

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import SensorInstigatorData

from exchange_platform.process.clock import MAX_SKEW_S

ROUNDS, PAUSE_S = 4, 10.0
"""A tick that was under way at the jump writes its old time afterwards."""


def forget_ticks_ahead(instance: dg.DagsterInstance, now_s: float) -> list[str]:
    """Forget the times of ticks that lie ahead of now; cursors and run keys stay. Returns the
    sensors' names.
    """
    names: list[str] = []
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        data = state.instigator_data
        if not isinstance(data, SensorInstigatorData):
            continue
        newest_s = max(data.last_tick_timestamp or 0.0, data.last_tick_start_timestamp or 0.0)
        if newest_s - now_s > MAX_SKEW_S:
            instance.update_instigator_state(
                state.with_data(data._replace(last_tick_timestamp=None, last_tick_start_timestamp=None))
            )
            names.append(state.instigator_name)
    return names


def main() -> int:
    """Look a few times."""
    with dg.DagsterInstance.get() as instance:
        for number in range(ROUNDS):
            if number:
                threading.Event().wait(PAUSE_S)
            names = forget_ticks_ahead(instance, time.time())
            if names:
                print(f"ticks ahead of now are forgotten: {', '.join(names)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
