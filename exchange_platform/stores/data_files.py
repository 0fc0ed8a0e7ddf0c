"""The SQLite files of a data directory: what each is for, how it is, and what to do about a damaged one.
Nothing is changed but by `set_aside`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from exchange_platform.stores.operational.sqlite_files import FileCondition, SqliteState, examine, glance

BEGUN_FILE = "simulated-exchange.begun"
"""Says that a simulated exchange has traded in this data directory: its journal is not new where this is."""

_BACKUP = "stop the platform and put it back from a backup, with its `-wal` file"
_PERMISSIONS = "give this user read and write permission"


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file: `proof` are files that exist only if it did, so that it is lost where it is missing beside
    one of them.
    """

    name: str
    what: str
    remedy: str
    proof: tuple[str, ...] = ()
    renewable: bool = False
    """Whether `up` sets a damaged one aside by itself, since what it holds is made again or is no customer's.
    """
    made_again: bool = False
    """Whether the next start makes a lost one again, with less in it."""


@dataclass(frozen=True, slots=True)
class DataFault:
    """A file that is not well."""

    file: DataFile
    path: Path
    state: SqliteState

    @property
    def found(self) -> str:
        """What is wrong, in words."""
        how = "is lost" if self.state.condition is FileCondition.MISSING else "is damaged"
        if self.state.condition in (FileCondition.FORBIDDEN, FileCondition.UNKNOWN):
            how = "can't be read"
        return f"{self.path} ({self.file.what}) {how}: {self.state.reason}"

    @property
    def starts_anyway(self) -> bool:
        """Whether a platform may start with this fault, after a word about it."""
        if self.state.condition is FileCondition.MISSING:
            return self.file.made_again
        return self.file.renewable and self.state.condition is FileCondition.DAMAGED

    @property
    def remedy(self) -> str:
        """What to do."""
        if self.state.condition is FileCondition.MISSING and self.file.made_again:
            return "put it back from a backup while the platform is stopped, or let the next start make a new one"
        return _PERMISSIONS if self.state.condition is FileCondition.FORBIDDEN else self.file.remedy


OPERATIONAL = DataFile(
    "operational.sqlite",
    "the operational database",
    f"{_BACKUP}. Without one no command can make the customers' accounts, money and bets again: move the whole data directory"
    " aside, and `exchange-platform up` begins an empty one",
    proof=("lake/catalog.sqlite", BEGUN_FILE),
)
CATALOG = DataFile(
    "lake/catalog.sqlite",
    "the lake's catalog",
    "stop the platform, then `exchange-platform restore-lake` sets the lake aside and makes a new one from its files and the other stores",
)
SIMULATED_EXCHANGE = DataFile(
    "simulated-exchange.sqlite",
    "the simulated exchange's journal",
    f"{_BACKUP}. Without one, move it aside and delete {BEGUN_FILE}: a new exchange begins then, with ids that the old one never"
    " reached, and bets that were live on the old one stay as they are",
    proof=(BEGUN_FILE,),
)
FEED = DataFile(
    "exchange-feed.sqlite",
    "the exchange's feed",
    "stop the platform and move it aside with its `-wal`: the exchange begins a new feed, which is read from its beginning; events that"
    " do not change again keep the state that the operational database has",
    proof=(BEGUN_FILE,),
    made_again=True,
)
FILES = (
    OPERATIONAL,
    CATALOG,
    SIMULATED_EXCHANGE,
    FEED,
    DataFile(
        "exchange-requests.sqlite",
        "what the platform reports to the exchange",
        "stop the platform and move it aside: the platform reports again",
        renewable=True,
    ),
    *(
        DataFile(
            f"dagster/{name}",
            what,
            "stop the platform and move it aside (`up` does so by itself): Dagster makes a new one, no bet is touched",
            renewable=True,
        )
        for name, what in (
            ("history/runs.db", "Dagster's list of runs"),
            ("history/runs/index.db", "Dagster's events of all runs"),
            ("schedules/schedules.db", "Dagster's ticks of sensors and schedules"),
        )
    ),
)


def glances(data_dir: Path, files: Sequence[DataFile] = FILES) -> Iterator[DataFault]:
    """The faults that show at a glance."""
    for file in files:
        fault = _fault(data_dir, file, glance(data_dir / file.name))
        if fault is not None:
            yield fault


def examinations(
    data_dir: Path, budget_s: float, files: Sequence[DataFile] = FILES
) -> Iterator[tuple[DataFile, SqliteState, DataFault | None]]:
    """Each file that is there or lost, how it is, and its fault; `budget_s` is each one's time."""
    for file in files:
        state = examine(data_dir / file.name, budget_s)
        fault = _fault(data_dir, file, state)
        if fault is not None or state.condition is not FileCondition.MISSING:
            yield file, state, fault


def set_aside(fault: DataFault, now: datetime) -> Path:
    """Move the file out of the way, with what SQLite keeps beside it; returns where it lies now."""
    aside = fault.path.with_name(f"{fault.path.name}.damaged-{now:%Y%m%dT%H%M%S}")
    for ending in ("-wal", "-shm", ""):
        beside = fault.path.with_name(fault.path.name + ending)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + ending))
    return aside


def _fault(data_dir: Path, file: DataFile, state: SqliteState) -> DataFault | None:
    if state.condition in (FileCondition.WHOLE, FileCondition.UNFINISHED):
        return None
    if state.condition is FileCondition.MISSING:
        proof = next((name for name in file.proof if (data_dir / name).exists()), None)
        if proof is None:
            return None
        state = SqliteState(FileCondition.MISSING, f"it is gone, and {proof} shows that it was there")
    return DataFault(file, data_dir / file.name, state)
