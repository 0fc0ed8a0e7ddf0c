"""When Dagster was asked for a run: what its start took is counted from there. How that is used is in
exchange_platform/operations/supervision.py.
"""

import dagster as dg


def requested_at_us(instance: dg.DagsterInstance, run_id: str) -> int | None:
    """When the run was requested, in microseconds since 1970; None where the instance has no such run."""
    record = instance.get_run_record_by_id(run_id)
    return int(record.create_timestamp.timestamp() * 1e6) if record is not None else None
