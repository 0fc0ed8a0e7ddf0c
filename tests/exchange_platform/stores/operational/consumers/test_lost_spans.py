"""Lost spans in the operational database: kept once, grown, acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from exchange_platform.stores.operational.consumers.lost_spans import Loss, LostSpans
from exchange_platform.stores.operational.database import Database
from tests.support.prepared import prepare_database

LOSS = Loss("exchange-bets", "shard-0@1", "10", "14", 1_000, 2_000, 3, "dropped")


@pytest.fixture
def spans(tmp_path: Path) -> Iterator[LostSpans]:
    database = Database(f"sqlite:///{tmp_path / 'operational.db'}")
    prepare_database(database)
    yield LostSpans(database)
    database.dispose()


def test_a_loss_is_kept_as_it_was_found_and_once(spans: LostSpans) -> None:
    assert spans.record(LOSS, now_us=5)
    assert not spans.record(LOSS, now_us=6)
    (span,) = spans.list()
    assert (span.loss, span.noticed_at_us, span.acknowledged_at_us, span.note) == (LOSS, 5, None, None)
    assert spans.standing() == 1


def test_unknown_ends_stay_unknown(spans: LostSpans) -> None:
    loss = replace(LOSS, after=None, before=None, from_us=None, until_us=None, records=None)
    assert spans.record(loss, now_us=5)
    assert not spans.record(loss, now_us=6)
    assert [span.loss for span in spans.list()] == [loss]


def test_an_acknowledged_span_stays_so_unless_it_has_grown(spans: LostSpans) -> None:
    spans.record(LOSS, now_us=5)
    assert spans.acknowledge([1], "published again", now_us=7) == 1
    assert not spans.record(LOSS, now_us=8)
    assert spans.standing() == 0
    assert spans.record(replace(LOSS, before="20", records=9), now_us=9)
    (span,) = spans.list(standing_only=True)
    assert (span.loss.before, span.loss.records, span.noticed_at_us) == ("20", 9, 9)


def test_what_is_left_of_a_known_span_is_no_other_one(spans: LostSpans) -> None:
    spans.record(LOSS, now_us=5)
    assert not spans.record(replace(LOSS, after="12"), now_us=6)
    assert spans.record(replace(LOSS, source="exchange-feed", after="12"), now_us=6)
    assert [span.loss.source for span in spans.list()] == ["exchange-feed", "exchange-bets"]
    assert [span.loss.source for span in spans.list(source="exchange-bets")] == ["exchange-bets"]


def test_acknowledging_keeps_an_earlier_note(spans: LostSpans) -> None:
    spans.record(LOSS, now_us=5)
    spans.record(replace(LOSS, shard="shard-1@1"), now_us=5)
    assert spans.acknowledge([1, 99], "first", now_us=7) == 1
    assert spans.acknowledge(None, "second", now_us=8) == 1
    assert [(span.note, span.acknowledged_at_us) for span in spans.list()] == [("second", 8), ("first", 7)]
