"""What `doctor` finds of the stores and of the consumers that fill them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from exchange_platform.doctor import tokens as doctor_tokens
from exchange_platform.doctor.findings import Finding, Level
from exchange_platform.operations import checks
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.settings.locations import shown_url
from exchange_platform.stores.data_files import DataFault, examinations
from exchange_platform.stores.event_index.opening import embedded_index_damage, open_event_index
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.events.documents import count_events
from exchange_platform.stores.schema import schema_revisions

_EXAMINED_S = 10.0
"""How long each SQLite file is examined at most; the check databases_whole takes longer."""


def database_finding(settings: Settings) -> Finding:
    """The operational database's schema, and how fast it answers."""
    database = Database(settings.operational_database_url)
    try:
        began = time.monotonic()
        has, wants = schema_revisions(database)
        took_ms = (time.monotonic() - began) * 1000
    finally:
        database.dispose()
    if has != wants:
        return Finding(
            "operational database",
            Level.WRONG,
            f"schema {has or 'none'}, this version wants {wants}",
            "`exchange-platform migrate`",
        )
    return Finding("operational database", Level.FINE, f"schema {has}, answers in {took_ms:.0f} ms")


def token_finding(settings: Settings) -> Finding:
    """What is to be said of applications' tokens."""
    found, remedy = doctor_tokens.token_notes(settings, SYSTEM_CLOCK)
    return Finding("application tokens", Level.NOTE if remedy else Level.FINE, found, remedy)


def lake_finding(settings: Settings) -> Finding:
    """Whether the lake's files are whole, and how much they hold."""
    lake = Lake.from_settings(settings, read_only=True)
    try:
        files = checks.lake_files_whole(lake, SYSTEM_CLOCK, everything=False)
        if not files.passed:
            return Finding("lake", Level.WRONG, files.description)
        counts = lake.counts()
    finally:
        lake.close()
    return Finding(
        "lake",
        Level.FINE,
        f"{counts.executions:,} executions, {counts.bet_versions:,} bet versions, {counts.closed_windows:,} closed windows;"
        f" {files.description}",
    )


def data_faults(data_dir: Path) -> Iterator[DataFault]:
    """What is wrong with the SQLite files of the data directory."""
    for _, _, fault in examinations(data_dir, _EXAMINED_S):
        if fault is not None:
            yield fault


def index_finding(settings: Settings) -> Finding:
    """Whether the event index is whole and filled."""
    if settings.elasticsearch_url is None:
        damage = embedded_index_damage(settings)
        if damage is not None:
            return Finding(
                "event index",
                Level.WRONG,
                f"embedded: damaged: {damage}",
                "it is a copy: the feed's consumer fills it again within two minutes, the job rebuild_event_index at once",
            )
    index = open_event_index(settings)
    database = Database(settings.operational_database_url)
    try:
        filled, documents, wanted = index.is_filled(), index.count(), count_events(database)
    finally:
        database.dispose()
        index.close()
    where = shown_url(settings.elasticsearch_url or "embedded")
    if wanted and not filled:
        return Finding(
            "event index",
            Level.WRONG,
            f"{where}: it was deleted, or never filled; the database has {wanted:,} events",
            "the feed's consumer fills it within seconds, the job rebuild_event_index at once",
        )
    return Finding("event index", Level.FINE, f"{where}: {documents:,} of {wanted:,} events")


def consumer_finding(settings: Settings, source: str) -> Finding:
    """How the source's newest consumer is."""
    database = Database(settings.operational_database_url)
    try:
        outcome = checks.consumer_alive(ConsumerRows(database), source, settings, SYSTEM_CLOCK)
    finally:
        database.dispose()
    return Finding(
        f"consumer of {source}",
        Level.FINE if outcome.passed else Level.WRONG,
        outcome.description,
        ""
        if outcome.passed
        else f"{source.replace('-', '_')}_sensor starts one within seconds; its ticks in the Dagster UI say what hinders it",
    )
