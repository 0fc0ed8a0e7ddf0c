"""A damaged embedded event index is found, left and filled again by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.event_index.tantivy import TantivyEventIndex
from tests.exchange_platform.stores.damaging import (
    Damaging,
    beginning_overwritten,
    bit_flipped,
    cut,
    deleted,
    emptied,
    end_overwritten,
    replaced_by_a_directory,
)
from tests.exchange_platform.stores.event_index_parts import Source, StandingClock, event

EVENTS = [event(f"Ipswich {number} v Chelsea") for number in range(20)]
DAMAGES = (
    cut,
    emptied,
    deleted,
    beginning_overwritten,
    end_overwritten,
    bit_flipped,
    replaced_by_a_directory,
)
FILES = ("meta.json", "*.term", "*.store", "*.fast", "*.idx")


def index(directory: Path, *, writable: bool = False) -> TantivyEventIndex:
    return TantivyEventIndex(directory, writable=writable, clock=StandingClock())


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory of a filled index."""
    made = index(tmp_path / "event-index")
    made.rebuild(Source(EVENTS))
    made.close()
    return tmp_path / "event-index"


def file_of(directory: Path, pattern: str) -> Path:
    return next(directory.glob(f"generation-*/{pattern}"))


def test_a_whole_index_is_filled(directory: Path) -> None:
    assert index(directory).is_filled()


@pytest.mark.parametrize("pattern", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_not_filled_and_a_rebuild_makes_it_whole(
    directory: Path, damage: Damaging, pattern: str
) -> None:
    damage(file_of(directory, pattern))
    damaged = index(directory, writable=True)

    assert not damaged.is_filled()
    assert damaged.rebuild(Source(EVENTS)) == len(EVENTS)
    assert damaged.is_filled()
    assert damaged.versions() == dict.fromkeys((one.event_id for one in EVENTS), 1)
    damaged.close()


@pytest.mark.parametrize("damage", [cut, emptied, deleted])
def test_a_consumer_gets_past_a_damaged_index(directory: Path, damage: Damaging) -> None:
    damage(file_of(directory, "meta.json"))
    damage(file_of(directory, "*.term"))
    consumers = index(directory, writable=True)

    try:
        consumers.put([event("Everton v Chelsea")])
    except StoreUnavailable:  # the put that met it
        consumers.put([event("Everton v Chelsea")])

    assert not consumers.is_filled()
    consumers.close()


def test_files_that_are_replaced_while_they_are_read_are_no_damage(directory: Path) -> None:
    writer = index(directory, writable=True)

    for version in range(2, 12):
        writer.put([event("Ipswich 1 v Chelsea", version=version)])
        assert index(directory).is_filled()

    writer.close()
