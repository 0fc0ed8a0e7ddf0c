"""Checks every configured part and says what is wrong and how to fix it. Changes nothing. Not here: printing
(cli/asking.py).

A part that is not there because nothing runs is a note; a part that should be there and is not, is wrong.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

from exchange_platform.doctor import permissions as doctor_permissions
from exchange_platform.doctor.aws import aws_findings
from exchange_platform.doctor.findings import REMEDIES, Finding, Level, safely
from exchange_platform.doctor.machine import (
    is_running_here,
    machine_findings,
    noted_findings,
    package_findings,
    platform_finding,
    python_finding,
)
from exchange_platform.doctor.stores import (
    consumer_finding,
    data_faults,
    database_finding,
    index_finding,
    lake_finding,
    token_finding,
)
from exchange_platform.operations import run_slots
from exchange_platform.operations.status import SOURCES
from exchange_platform.settings import Settings, read_platform_file
from exchange_platform.stores.data_files import CATALOG, OPERATIONAL


def diagnose(settings: Settings) -> Iterator[Finding]:
    """Check part by part; a check that breaks is itself a finding. Takes seconds where something does not
    answer.
    """
    embedded = settings.database_url is None
    runs = is_running_here(settings)
    yield python_finding()
    yield from package_findings(embedded)
    yield from machine_findings(settings.data_dir, runs_here=embedded)
    yield safely("platform", lambda: platform_finding(settings, runs=runs, embedded=embedded))
    if runs:
        yield from noted_findings(settings)
    faults = list(data_faults(settings.data_dir)) if embedded else []
    for fault in faults:
        level = Level.NOTE if fault.starts_anyway else Level.WRONG
        yield Finding(fault.file.what.removeprefix("the "), level, fault.found, fault.remedy)
    damaged = {fault.file for fault in faults}
    operational = settings.data_dir / OPERATIONAL.name
    there = OPERATIONAL not in damaged and (not embedded or operational.exists())
    if OPERATIONAL not in damaged and not there:
        yield Finding("stores", Level.NOTE, "not made yet", "`exchange-platform migrate` or `up` makes them")
    if there:
        yield safely("operational database", lambda: database_finding(settings))
        yield safely("application tokens", lambda: token_finding(settings))
    if (there or OPERATIONAL in damaged) and CATALOG not in damaged:
        yield safely("lake", lambda: lake_finding(settings))
    if there:
        yield safely("event index", lambda: index_finding(settings))
    if runs or not embedded:
        yield from aws_findings(settings)
        if not embedded:
            yield safely("environment", _environment)
            for part, remedy, trial in doctor_permissions.trials(settings):
                yield tried(part, remedy, trial)
        if there:
            for source in SOURCES:
                yield safely(f"consumer of {source}", functools.partial(consumer_finding, settings, source))
    if runs:
        yield safely("dagster", lambda: _dagster(settings))
    limits = run_slots.dagster_yaml(settings)
    if limits is not None:
        yield safely("run slots", lambda: run_slots_finding(settings, limits))


def tried(part: str, remedy: str, trial: Callable[[], str]) -> Finding:
    """What a trial says, as a finding; its error with the remedy."""
    try:
        return Finding(part, Level.FINE, trial())
    except Exception as error:
        return Finding(part, Level.WRONG, " ".join(str(error).split())[:300], remedy)


def _environment() -> Finding:
    unknown = doctor_permissions.unknown_variables()
    if unknown:
        return Finding(
            "environment",
            Level.WRONG,
            f"no settings: {', '.join(unknown)}",
            "are they misspelt, or of another version? docs/configuration.md lists all",
        )
    return Finding("environment", Level.FINE, "every EXCHANGE_PLATFORM_ variable is a setting")


def _dagster(settings: Settings) -> Finding:
    from exchange_platform.local.dagster_pages import DagsterPages

    pages = DagsterPages(str(read_platform_file(settings.data_dir).get("dagster_url")))
    version = pages.version()
    error, silent = pages.load_error(), pages.unhealthy_daemons()
    if error is not None:
        return Finding(
            "dagster", Level.WRONG, f"the code location does not load: {error[:300]}", REMEDIES["dagster"]
        )
    if silent:
        return Finding(
            "dagster",
            Level.WRONG,
            f"silent daemons: {', '.join(silent)}",
            "see logs/dagster-daemon.log in the data directory",
        )
    return Finding(
        "dagster", Level.FINE, f"webserver {version} at {pages.url}, daemons beat, definitions are loaded"
    )


def run_slots_finding(settings: Settings, file: Path) -> Finding:
    """Whether Dagster's limits in this file let through all the runs that the settings ask for."""
    import yaml  # Dagster brings it, and where its instance is configured, Dagster is installed

    configured = (yaml.safe_load(file.read_text()) or {}).get("concurrency", {}).get("runs", {})
    short = run_slots.limits_too_low(settings, configured)
    if short is not None:
        return Finding(
            "run slots", Level.WRONG, short, f"raise it under concurrency.runs in {file.name}; -1 is no limit"
        )
    return Finding("run slots", Level.FINE, f"{run_slots.slots_needed(settings)} runs may be needed at once")
