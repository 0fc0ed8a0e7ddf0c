"""After the clock was set back Dagster's sensors tick at once, and remember what they knew."""

from __future__ import annotations

import time

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.sensor_definition import SensorType
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, SensorInstigatorData
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.sensor import get_elapsed

from deployments.set_back_clock import forget_ticks_ahead

HOUR_S = 3600.0


def state_of(name: str, tick_s: float) -> InstigatorState:
    location = ManagedGrpcPythonEnvCodeLocationOrigin(
        loadable_target_origin=LoadableTargetOrigin(module_name="deployments.local"), location_name="here"
    )
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)
    data = SensorInstigatorData(
        last_tick_timestamp=tick_s,
        last_tick_start_timestamp=tick_s,
        last_run_key="exchange-bets/7/1",
        cursor="a cursor",
        min_interval=5,
        sensor_type=SensorType.STANDARD,
    )
    return InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, data)


def test_a_sensor_whose_last_tick_lies_an_hour_ahead_ticks_again_and_keeps_its_cursor() -> None:
    now_s = time.time()
    with dg.instance_for_test() as instance:
        for name, tick_s in (("ahead", now_s + HOUR_S), ("just_ticked", now_s - 1)):
            instance.add_instigator_state(state_of(name, tick_s))
        (ahead,) = [state for state in instance.all_instigator_state() if state.instigator_name == "ahead"]
        assert (get_elapsed(ahead) or 0) < -3590  # Dagster compares this with the interval
        assert forget_ticks_ahead(instance, now_s) == ["ahead"]
        assert forget_ticks_ahead(instance, now_s) == []
        states = {state.instigator_name: state for state in instance.all_instigator_state()}
    assert get_elapsed(states["ahead"]) is None  # due at once
    data = states["ahead"].instigator_data
    assert isinstance(data, SensorInstigatorData)
    assert (data.last_tick_timestamp, data.last_tick_start_timestamp) == (None, None)
    assert (data.cursor, data.last_run_key, data.min_interval) == ("a cursor", "exchange-bets/7/1", 5)
    assert states["just_ticked"].instigator_data == state_of("just_ticked", now_s - 1).instigator_data
