"""Checks every configured part and says what is wrong and how to mend it. Changes nothing. Not here: printing (cli/asking.py).

A part that is not there because nothing runs is a note; a part that should be there and is not, is wrong.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from exchange_platform.doctor import permissions as doctor_permissions
from exchange_platform.doctor import tokens as doctor_tokens
from exchange_platform.operations import checks, run_slots
from exchange_platform.operations.status import SOURCES
from exchange_platform.process.aws_clients import is_on_this_machine
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.process.machine import (
    GIB,
    faults_of,
    limit_faults,
    limit_notes,
    loopback_fault,
    memory_fault,
    memory_limit,
    out_of_memory_kills,
    room_at,
    room_fault,
)
from exchange_platform.process.private_files import looser
from exchange_platform.settings import FAULTS, OUT_OF_MEMORY_KILLS, Settings, read_platform_file
from exchange_platform.settings.aws import aws_client, error_code, topic_arn
from exchange_platform.settings.locations import shown_url
from exchange_platform.stores.checkpoints import StoreDamaged
from exchange_platform.stores.data_files import CATALOG, OPERATIONAL, DataFault, examinations
from exchange_platform.stores.dynamodb.confirmation_tokens import TTL_ATTRIBUTE, ttl_attribute
from exchange_platform.stores.event_index.opening import embedded_index_damage, open_event_index
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.events.documents import count_events
from exchange_platform.stores.schema import schema_revisions

_EXAMINED_S = 10.0
"""How long each SQLite file is examined at most; the check databases_whole takes longer."""
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
LITTLE_SPACE = 5 * GIB
MOST_SKEW_S = 60.0
_MISSING = (
    "ResourceNotFoundException",
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
)
_EMBEDDED = ("dagster", "dagster-webserver", "moto", "supervisor", "tantivy")
_NEEDED = ("duckdb", "duckdb-extension-ducklake", "sqlalchemy", "alembic", "boto3", "msgspec", "pyarrow")


class Level(StrEnum):
    """How a part is."""

    FINE = "fine"
    NOTE = "note"
    WRONG = "wrong"


class Finding(msgspec.Struct, frozen=True):
    """What a check found of a part, and what to do about it (empty: nothing)."""

    part: str
    level: Level
    found: str
    remedy: str = ""


def diagnose(settings: Settings) -> Iterator[Finding]:
    """Check part by part; a check that breaks is itself a finding. Takes seconds where something does not answer."""
    embedded = settings.database_url is None
    runs = _is_running(settings)
    yield _python()
    yield from _packages(embedded)
    yield from _machine(settings.data_dir, runs_here=embedded)
    yield _safely("platform", lambda: _platform(settings, runs=runs, embedded=embedded))
    if runs:
        yield from _noted(settings)
    faults = list(_data_faults(settings.data_dir)) if embedded else []
    for fault in faults:
        level = Level.NOTE if fault.starts_anyway else Level.WRONG
        yield Finding(fault.file.what.removeprefix("the "), level, fault.found, fault.remedy)
    damaged = {fault.file for fault in faults}
    operational = settings.data_dir / OPERATIONAL.name
    there = OPERATIONAL not in damaged and (not embedded or operational.exists())
    if OPERATIONAL not in damaged and not there:
        yield Finding("stores", Level.NOTE, "not made yet", "`exchange-platform migrate` or `up` makes them")
    if there:
        yield _safely("operational database", lambda: _database(settings))
        yield _safely("application tokens", lambda: _application_tokens(settings))
    if (there or OPERATIONAL in damaged) and CATALOG not in damaged:
        yield _safely("lake", lambda: _lake(settings))
    if there:
        yield _safely("event index", lambda: _event_index(settings))
    if runs or not embedded:
        yield from _aws(settings)
        if not embedded:
            yield _safely("environment", _environment)
            for part, remedy, trial in doctor_permissions.trials(settings):
                yield _tried(part, remedy, trial)
        if there:
            for source in SOURCES:
                yield _safely(f"consumer of {source}", functools.partial(_consumer, settings, source))
    if runs:
        yield _safely("dagster", lambda: _dagster(settings))
    limits = run_slots.dagster_yaml(settings)
    if limits is not None:
        yield _safely("run slots", lambda: _run_slots(settings, limits))


def _safely(part: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except StoreDamaged as damage:  # it says what to do
        return Finding(part, Level.WRONG, " ".join(str(damage).split()))
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        return Finding(part, Level.WRONG, text[:500], _REMEDIES.get(part, ""))


def _tried(part: str, remedy: str, trial: Callable[[], str]) -> Finding:
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


_REMEDIES = {
    "operational database": "is its server up, and are EXCHANGE_PLATFORM_DATABASE_URL and its password right?",
    "application tokens": "`exchange-platform migrate` makes their table",
    "lake": "is its catalog reachable (EXCHANGE_PLATFORM_LAKE_CATALOG), its data readable (EXCHANGE_PLATFORM_LAKE_DATA_PATH)?",
    "event index": "Elasticsearch: is it up, and are EXCHANGE_PLATFORM_ELASTICSEARCH_URL and its API key right? The embedded index"
    " (no URL): it is a copy, the job rebuild_event_index fills it again",
    "dagster": "see logs/dagster-webserver.log and logs/code-server.log in the data directory",
}


def _python() -> Finding:
    version = sys.version.split()[0]
    if OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        return Finding("python", Level.FINE, version)
    return Finding("python", Level.WRONG, f"{version} is not supported", "use Python 3.11, 3.12 or 3.13")


def _packages(embedded: bool) -> Iterator[Finding]:
    missing: list[str] = []
    found: list[str] = []
    for name in (*_NEEDED, *(_EMBEDDED if embedded else ())):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        yield Finding(
            "packages",
            Level.WRONG,
            f"missing: {', '.join(missing)}",
            "`make setup` in the checkout installs the locked versions",
        )
    else:
        yield Finding("packages", Level.FINE, ", ".join(found))


def _machine(data_dir: Path, *, runs_here: bool) -> Iterator[Finding]:
    """The data directory; and where a whole platform runs here, whether memory and limits suffice for that."""
    room = room_at(data_dir)
    here = [loopback_fault(), memory_fault(), *limit_faults()] if runs_here else []
    faults = [*filter(None, [room_fault(room), *here])]
    for fault in faults:
        yield Finding(fault.part, Level.WRONG, fault.found, fault.remedy)
    wrong = {fault.part for fault in faults}
    if not wrong & {"disk", "data directory"}:
        yield Finding("data directory", Level.FINE, str(data_dir))
        little = room.free_bytes < LITTLE_SPACE
        remedy = "make room soon: 1,000 records/s take some GiB a day" if little else ""
        yield Finding("disk", Level.NOTE if little else Level.FINE, room.text, remedy)
    if not runs_here:
        return
    yield _permissions(data_dir)
    for note in limit_notes():
        yield Finding(note.part, Level.NOTE, note.found, note.remedy)
    if "memory" not in wrong:
        memory = memory_limit()
        yield Finding("memory", Level.FINE, f"{memory / GIB:,.1f} GiB" if memory else "no limit known")
    if not limit_faults() and not limit_notes():
        yield Finding("limits", Level.FINE, "open files, threads, address space and file sizes suffice")


def _permissions(data_dir: Path) -> Finding:
    loose = looser(data_dir)
    if loose:
        named = ", ".join(str(path) for path in loose[:3])
        return Finding(
            "permissions",
            Level.WRONG,
            f"{len(loose):,} files or directories are not their owner's alone, such as {named}: they hold addresses and balances",
            f"`exchange-platform migrate` and `up` take other users' permissions away, and so does: chmod -R go= {data_dir}",
        )
    return Finding("permissions", Level.FINE, "nobody but its owner gets at the data directory")


def _noted(settings: Settings) -> Iterator[Finding]:
    """What a running `up` sees going wrong."""
    known = {fault.part for fault in faults_of(settings.data_dir)}
    for text in read_platform_file(settings.data_dir).get(FAULTS, []):
        part, _, found = str(text).partition(": ")
        if part not in known:
            yield Finding(part, Level.WRONG, found)


def _is_running(settings: Settings) -> bool:
    from exchange_platform.local.running import is_running

    return is_running(settings.data_dir)


def _platform(settings: Settings, *, runs: bool, embedded: bool) -> Finding:
    running = read_platform_file(settings.data_dir)
    if runs:
        return Finding(
            "platform", Level.FINE, f"runs (pid {running.get('pid')}): {running.get('dagster_url')}"
        )
    if running:
        kills, before = out_of_memory_kills(), running.get(OUT_OF_MEMORY_KILLS)
        memory = kills is not None and isinstance(before, int) and kills > before
        why = f"; the kernel has killed {kills - before} processes since for want of memory" if memory else ""  # type: ignore[operator]
        return Finding(
            "platform",
            Level.WRONG,
            f"the platform of pid {running.get('pid')} was killed{why}",
            "`exchange-platform up` cleans up and goes on where it stopped; nothing is lost",
        )
    if not embedded:
        return Finding("platform", Level.NOTE, "no local platform; the configured services are checked")
    return _default_port()


def _default_port() -> Finding:
    from exchange_platform.local.programs import is_free

    if is_free(3000):
        return Finding("platform", Level.NOTE, "not running", "`exchange-platform up` starts it")
    return Finding(
        "platform",
        Level.NOTE,
        "not running, and port 3000 is taken by another program",
        "`exchange-platform up --port N` starts it on another",
    )


def _database(settings: Settings) -> Finding:
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


def _application_tokens(settings: Settings) -> Finding:
    found, remedy = doctor_tokens.token_notes(settings, SYSTEM_CLOCK)
    return Finding("application tokens", Level.NOTE if remedy else Level.FINE, found, remedy)


def _lake(settings: Settings) -> Finding:
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


def _data_faults(data_dir: Path) -> Iterator[DataFault]:
    for _, _, fault in examinations(data_dir, _EXAMINED_S):
        if fault is not None:
            yield fault


def _event_index(settings: Settings) -> Finding:
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


def _aws(settings: Settings) -> Iterator[Finding]:
    endpoint = shown_url(settings.aws_endpoint_url or f"AWS {settings.aws_region}")
    kinesis, dynamodb = (
        aws_client(settings, "kinesis", read_timeout_s=3),
        aws_client(settings, "dynamodb", read_timeout_s=3),
    )
    makes = "`exchange-platform up` makes it" if _is_emulator(settings) else "create it (Terraform does)"
    try:
        clock: Callable[[], Finding] | None = None
        for stream in (settings.bets_stream, settings.orders_stream):
            answer, finding = _asked(
                "stream",
                stream,
                makes,
                lambda stream=stream: kinesis.describe_stream_summary(StreamName=stream),  # type: ignore[misc]
            )
            if answer is not None:
                summary = answer["StreamDescriptionSummary"]
                finding = Finding(
                    "stream",
                    Level.FINE if summary["StreamStatus"] in ("ACTIVE", "UPDATING") else Level.WRONG,
                    f"{stream} at {endpoint}: {summary['StreamStatus'].lower()}, {summary['OpenShardCount']} open shards",
                )
                clock = functools.partial(_clock, answer)
            yield finding
        if clock is not None:
            yield _safely("clock", clock)
        answer, finding = _asked(
            "profile view",
            settings.profiles_table,
            makes,
            lambda: dynamodb.describe_table(TableName=settings.profiles_table),
        )
        if answer is not None:
            status = answer["Table"]["TableStatus"]
            finding = Finding(
                "profile view",
                Level.FINE if status in ("ACTIVE", "UPDATING") else Level.WRONG,
                f"table {settings.profiles_table} at {endpoint}: {status.lower()}",
            )
        yield finding
        yield _tokens(settings, dynamodb, endpoint, makes)
        yield _topic(settings, endpoint, makes)
        if settings.mail_feedback_queue is not None:
            yield _feedback(settings, makes)
    finally:
        kinesis.close()
        dynamodb.close()


def _tokens(settings: Settings, dynamodb: Any, endpoint: str, makes: str) -> Finding:
    part, table = "confirmation tokens", settings.tokens_table
    answer, finding = _asked(part, table, makes, lambda: dynamodb.describe_table(TableName=table))
    if answer is None:
        return finding
    if ttl_attribute(dynamodb, table) != TTL_ATTRIBUTE:
        return Finding(
            part,
            Level.WRONG,
            f"table {table} at {endpoint}: no TTL on {TTL_ATTRIBUTE}, so hashes of old tokens stay for ever",
            f"enable its TTL on the attribute {TTL_ATTRIBUTE}",
        )
    return Finding(part, Level.FINE, f"table {table} at {endpoint}: TTL on {TTL_ATTRIBUTE}")


def _topic(settings: Settings, endpoint: str, makes: str) -> Finding:
    topic = settings.status_topic
    sns = aws_client(settings, "sns", read_timeout_s=3)
    try:
        answer, finding = _asked(
            "topic", topic, makes, lambda: sns.get_topic_attributes(TopicArn=topic_arn(settings, topic))
        )
    finally:
        sns.close()
    if answer is None:
        return finding
    subscribers = int(answer["Attributes"].get("SubscriptionsConfirmed", 0))
    told = "1 subscriber" if subscribers == 1 else f"{subscribers} subscribers"
    return Finding("topic", Level.FINE, f"{topic} at {endpoint}: {told}")


def _feedback(settings: Settings, makes: str) -> Finding:
    queue = settings.mail_feedback_queue or ""
    sqs = aws_client(settings, "sqs", read_timeout_s=3)
    try:
        return _asked(
            "mail feedback", queue, makes, lambda: sqs.get_queue_url(QueueName=queue.rpartition("/")[2])
        )[1]
    finally:
        sqs.close()


def _asked(part: str, name: str, makes: str, call: Callable[[], Any]) -> tuple[Any, Finding]:
    """The service's answer, or None and what is wrong with it."""
    try:
        return call(), Finding(part, Level.FINE, name)
    except (ClientError, BotoCoreError) as error:
        code = error_code(error)
        if code in _MISSING:
            return None, Finding(part, Level.WRONG, f"{name} does not exist", makes)
        if "AccessDenied" in code or "UnrecognizedClient" in code or "InvalidSignature" in code:
            return None, Finding(
                part,
                Level.WRONG,
                f"{name}: {code}",
                "give this identity permission to describe, read and write it",
            )
        if "Credentials" in code:
            return None, Finding(
                part,
                Level.WRONG,
                f"{name}: no AWS credentials",
                "set AWS_PROFILE, or the variables that boto3 reads",
            )
        return None, Finding(
            part,
            Level.WRONG,
            f"{name}: {' '.join(str(error).split())[:300]}",
            "is the endpoint right (EXCHANGE_PLATFORM_AWS_ENDPOINT_URL), and reachable from here?",
        )


def _is_emulator(settings: Settings) -> bool:
    return settings.aws_endpoint_url is not None and is_on_this_machine(settings.aws_endpoint_url)


def _clock(answer: Any) -> Finding:
    said = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()
    skew_s = abs(time.time() - said)
    found = f"{skew_s:.0f} s from the stream's"
    if skew_s > MOST_SKEW_S:
        return Finding(
            "clock",
            Level.WRONG,
            found,
            "set this machine's clock (chrony, systemd-timesyncd): AWS refuses a wrong one",
        )
    return Finding("clock", Level.FINE, found)


def _consumer(settings: Settings, source: str) -> Finding:
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


def _dagster(settings: Settings) -> Finding:
    from exchange_platform.local.dagster_pages import DagsterPages

    pages = DagsterPages(str(read_platform_file(settings.data_dir).get("dagster_url")))
    version = pages.version()
    error, silent = pages.load_error(), pages.unhealthy_daemons()
    if error is not None:
        return Finding(
            "dagster", Level.WRONG, f"the code location does not load: {error[:300]}", _REMEDIES["dagster"]
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


def _run_slots(settings: Settings, file: Path) -> Finding:
    import yaml  # Dagster brings it, and where its instance is configured, Dagster is installed

    configured = (yaml.safe_load(file.read_text()) or {}).get("concurrency", {}).get("runs", {})
    short = run_slots.limits_too_low(settings, configured)
    if short is not None:
        return Finding(
            "run slots", Level.WRONG, short, f"raise it under concurrency.runs in {file.name}; -1 is no limit"
        )
    return Finding("run slots", Level.FINE, f"{run_slots.slots_needed(settings)} runs may be needed at once")
