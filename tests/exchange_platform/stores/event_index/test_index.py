"""What the event index finds and in which order, versions, rebuilds: the same on both engines.

Elasticsearch is installed and started by CI (.ci/run); without `EXCHANGE_PLATFORM_TEST_ELASTICSEARCH_URL` its
half skips.
"""

from __future__ import annotations

import random
import string
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange_platform.settings import Settings
from exchange_platform.stores.event_index.index import DocumentsRefused, EventDocument, EventIndex, EventQuery
from tests.exchange_platform.stores.event_index_parts import (
    DAY_US,
    ENGINES,
    HOUR_US,
    NOW_US,
    Source,
    event,
    hold,
    in_play,
    index_settings,
    names,
    opened,
    over,
)

CRICKET = event("Netherlands v Papua New Guinea", sport="cricket", competition="ICC T20 World Cup Qualifier")


@pytest.fixture(params=ENGINES)
def engine_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    with index_settings(request.param, tmp_path) as settings:
        yield settings


@pytest.fixture
def index(engine_settings: Settings) -> Iterator[EventIndex]:
    with opened(engine_settings) as index:
        yield index


def test_a_beginning_of_any_word_finds_the_event(index: EventIndex) -> None:
    hold(index, CRICKET, event("Sri Lanka v Oman", sport="cricket"))
    for text in (
        "n",
        "neth",
        "netherlands",
        "pap",
        "new",
        "papua new",
        "guin neth",
        "NETH ",
        "world cup q",
        "icc",
    ):
        assert names(index, text) == [CRICKET.name], text
    assert names(index, "herlands") == []


def test_case_accents_and_punctuation_do_not_matter(index: EventIndex) -> None:
    held = (
        event("Saint-Étienne v Paris Saint-Germain"),
        event("FC Köln v Borussia Mönchengladbach"),
        event("Brøndby v Malmö FF"),
        event("Nott'm Forest v A.C. Milan"),
        event("Beşiktaş v Śląsk Wrocław"),
        event("Rosario O’Donnell v Łukasz Kubot", sport="tennis"),
    )
    hold(index, *held)
    for text, place in (
        ("saint etienne", 0), ("SAINT-ETI", 0), ("saintetienne", 0), ("étien", 0), ("st etienne", 0), ("germain", 0),
        ("koln", 1), ("KÖLN", 1), ("koeln", 1), ("cologne", 1), ("monchen", 1), ("moenchen", 1), ("mönchengladbach", 1), ("gladbach", 1),
        ("brondby", 2), ("malmo", 2), ("malmoe", 2),
        ("nottm", 3), ("nott'm", 3), ("nottingham f", 3), ("ac milan", 3), ("a.c. mil", 3),
        ("besiktas", 4), ("slask", 4), ("wroclaw", 4),
        ("o'donnell", 5), ("odonnell", 5), ("donnell", 5), ("o’d", 5), ("lukasz", 5),
    ):  # fmt: skip
        assert names(index, text) == [held[place].name], text


def test_a_name_typed_in_decomposed_letters_is_the_same_name(index: EventIndex) -> None:
    hold(index, event("Atlético Madrid v Cádiz"))
    assert names(index, "atle\u0301tico ca\u0301d") == ["Atlético Madrid v Cádiz"]


def test_abbreviations_nicknames_and_initials_find_the_event(index: EventIndex) -> None:
    held = (
        event("Manchester United v Wolverhampton Wanderers", competition="English Premier League"),
        event("Man City v Queens Park Rangers"),
        event("New York Knicks v Los Angeles Lakers", sport="basketball"),
        event("LA Clippers v Oklahoma City Thunder", sport="basketball"),
        CRICKET,
        event("United Arab Emirates v New Zealand", sport="cricket"),
        event("Tottenham Hotspur v Paris St Germain"),
        event("Chelsea Women v Arsenal Women"),
        event("Brighton & Hove Albion v West Bromwich Albion"),
        event("England U21 v Spain Under 21"),
    )
    hold(index, *held)
    for text, place in (
        ("man utd", 0), ("man u", 0), ("manchester utd", 0), ("wolves", 0), ("epl", 0), ("mufc", 0),
        ("manchester city", 1), ("man c", 1), ("qpr", 1),
        ("ny", 2), ("nyk", 2), ("ny kni", 2), ("la lak", 2), ("lal", 2),
        ("los angeles cli", 3), ("okc", 3),
        ("png", 4), ("holland", 4), ("uae", 5), ("nz", 5), ("black caps", 5),
        ("spurs", 6), ("psg", 6), ("paris saint germ", 6),
        ("chelsea ladies", 7), ("wba", 8), ("brighton and hove", 8), ("brighton hove", 8), ("west brom", 8),
        ("england under 21", 9), ("spain u21", 9),
    ):  # fmt: skip
        assert names(index, text)[:1] == [held[place].name], text


def test_words_that_a_name_may_lack_are_not_demanded(index: EventIndex) -> None:
    hold(index, event("Arsenal v Chelsea"), event("AC Milan v Napoli"), event("Inter v Milan Futuro"))
    for text in ("arsenal fc", "arsenal vs chelsea", "arsenal v", "Arsenal F.C. v Chelsea", "the arsenal"):
        assert names(index, text) == ["Arsenal v Chelsea"], text
    assert names(index, "ac milan")[0] == "AC Milan v Napoli"


def test_every_word_of_a_query_counts(index: EventIndex) -> None:
    hold(
        index,
        event("Real Madrid v Barcelona"),
        event("Real Betis v Sevilla"),
        event("Real Sociedad v Getafe"),
    )
    assert names(index, "real b") == ["Real Betis v Sevilla", "Real Madrid v Barcelona"]
    assert names(index, "real bar") == ["Real Madrid v Barcelona"]
    assert names(index, "barcelona real") == ["Real Madrid v Barcelona"]
    assert names(index, "real madrid sevilla") == []


def test_one_typo_is_forgiven_in_words_of_four_letters_and_more(index: EventIndex) -> None:
    hold(index, CRICKET, event("Chelsea v Everton"))
    for text in (
        "netherlnds", "nethrlands", "netherlandds", "nehterlands", "betherlands", "etherlands", "netj", "nehterl", "netherkan",
        "papau", "papia n", "guinae", "neth giunea",
    ):  # fmt: skip
        assert names(index, text) == [CRICKET.name], text
    hold(index, event("Peru v Oman"))
    for text in ("peu", "pru", "perru", "preu", "epru", "oan", "omna"):
        assert names(index, text) == ["Peru v Oman"], text
    for text in ("nrhtrrlands", "nzt", "chlesae", "pez", "pu"):
        assert names(index, text) == [], text


def test_an_exact_beginning_comes_before_a_mistyped_one(index: EventIndex) -> None:
    hold(
        index,
        in_play("Barnet v Bromley", traded_minor=10**9),
        event("Barcelona v Getafe"),
        in_play("Barcelos v Braga"),
        over("Barnes v Barcena"),
    )
    assert names(index, "barce") == [
        "Barcelos v Braga",
        "Barcelona v Getafe",
        "Barnes v Barcena",
        "Barnet v Bromley",
    ]


def test_enough_exact_answers_leave_mistyped_ones_out(index: EventIndex) -> None:
    hold(index, *(event(f"Lions {number} v Bears") for number in range(5)), in_play("Lyons v Nice"))
    assert len(names(index, "lions")) == 5
    assert "Lyons v Nice" not in names(index, "lions")


def test_in_play_then_soon_then_traded_then_closed(index: EventIndex) -> None:
    played = in_play("Arsenal v Leeds")
    soon = event("Arsenal v Fulham", starts_at_us=NOW_US + HOUR_US // 2)
    late = event("Arsenal v Burnley", starts_at_us=NOW_US - HOUR_US)
    today = event("Arsenal v Everton", starts_at_us=NOW_US + 20 * HOUR_US)
    big = event("Arsenal v Chelsea", starts_at_us=NOW_US + 40 * DAY_US, traded_minor=5_000_000_00)
    small = event("Arsenal v Brentford", starts_at_us=NOW_US + 40 * DAY_US, traded_minor=1_000_00)
    recent = over("Arsenal v Wolves", starts_at_us=NOW_US - 5 * DAY_US, traded_minor=10**12)
    old = over("Arsenal v Spurs", starts_at_us=NOW_US - 400 * DAY_US)
    hold(index, *random.Random(5).sample([played, soon, late, today, big, small, recent, old], 8))
    wanted = [played, late, soon, today, big, small, recent, old]
    found = names(index, "arsenal")
    assert sorted(found[1:3]) == sorted([late.name, soon.name])
    assert [found[0], *found[3:]] == [wanted[0].name, *(one.name for one in wanted[3:])]
    assert names(index, "") == names(index, "ars")
    assert names(index, "ars", open_only=True) == names(index, "ars")[:6]
    assert names(index, "", open_only=True, limit=3) == names(index, "ars")[:3]


def test_a_name_s_words_count_more_than_its_competition_s(index: EventIndex) -> None:
    league = in_play("Bury v Crewe", competition="Premier League")
    hold(index, league, in_play("Premier Sports v Bury", competition="Cup"))
    assert names(index, "premier") == ["Premier Sports v Bury", league.name]


def test_words_as_a_side_is_written_come_before_words_of_both_sides(index: EventIndex) -> None:
    across = event(
        "Manchester City v Newcastle United", starts_at_us=NOW_US + 3 * HOUR_US, traded_minor=10**10
    )
    hold(index, across, event("Manchester United v Luton", starts_at_us=NOW_US + 4 * HOUR_US))
    assert names(index, "manchester u") == ["Manchester United v Luton", across.name]


def test_the_first_word_of_a_side_counts_more_than_a_later_one(index: EventIndex) -> None:
    hold(index, event("Leicester City v Hull City"), event("City Thunder v Hull Sharks"))
    assert names(index, "city")[0] == "City Thunder v Hull Sharks"


def test_only_a_sport_s_events_where_one_is_asked_for(index: EventIndex) -> None:
    hold(index, CRICKET, event("Netherlands v France"), event("Nethercote Plate", sport="Horse Racing"))
    assert names(index, "neth", sport="cricket") == [CRICKET.name]
    assert names(index, "neth", sport="HORSE  racing") == ["Nethercote Plate"]
    assert names(index, "", sport="Cricket") == [CRICKET.name]
    assert names(index, "neth", sport="chess") == []


def test_sport_country_and_runners_find_an_event(index: EventIndex) -> None:
    race = event(
        "14:30 Ascot",
        sport="horse racing",
        country="GB",
        participants=("Desert Crown", "Stradivarius"),
        competition="2m4f Hcap",
    )
    hold(index, race, event("Palmeiras v Santos", country="BR"))
    for text in ("14:30", "1430 asc", "strad", "desert crown", "desertc", "horse", "racing", "engl", "hcap"):
        assert names(index, text)[:1] == [race.name], text
    assert names(index, "braz") == ["Palmeiras v Santos"]
    assert names(index, "soccer") == ["Palmeiras v Santos"]


def test_no_more_than_the_limit(index: EventIndex) -> None:
    hold(index, *(event(f"Hawks {number} v Foxes") for number in range(70)))
    for limit in (1, 7, 50):
        assert len(names(index, "hawks", limit=limit)) == limit
        assert len(names(index, "", limit=limit)) == limit


def test_any_text_has_an_answer(index: EventIndex) -> None:
    hold(index, CRICKET)
    chance = random.Random(17)
    alphabet = string.printable + "éßøİǆ\u0301\u200d\u202e\ufeff\U0001f600中文العربية한국어ﷺ½\x00\ud800"
    texts = ["".join(chance.choices(alphabet, k=chance.randint(0, 200))) for _ in range(60)]
    texts += [
        "a" * 200, "a " * 100, "*", "?", "~", "neth~9", "neth^1e9", "name:x", "[1 TO *]", "(((", '"neth', "\\", "/.*/", "AND OR NOT", "neth*",
        "ﷺ" * 200, "\u0301" * 200, "\x00", " \t\n", "'" * 200, "a'" * 100, "-neth", "ab-cd-" * 33, "{}", "<script>", "١٢٣٤", "ß" * 200, "x" * 5000,
    ]  # fmt: skip
    for text in texts:
        index.search(EventQuery(text=text))
    assert names(index, "neth* OR 1=1;--") == []
    for text in ("", "  ", "?!", "\u200d"):
        assert names(index, text) == [CRICKET.name], repr(text)


def test_letters_of_any_script_are_words(index: EventIndex) -> None:
    hold(index, event("Зенит v Спартак Москва"), event("浦和レッズ v 鹿島"))
    assert names(index, "зен") == ["Зенит v Спартак Москва"]
    assert names(index, "СПАРТАК м") == ["Зенит v Спартак Москва"]
    assert names(index, "浦和") == ["浦和レッズ v 鹿島"]


def test_highlights_are_places_in_the_text(index: EventIndex) -> None:
    hold(index, event("<b>Saint-Étienne</b> v Man Utd", event_id="one", competition="Ligue 1 Cup"))
    (hit,) = index.search(EventQuery(text="etie cup"))
    marked = [
        (mark.field, getattr(hit.document, mark.field)[mark.start : mark.end]) for mark in hit.highlights
    ]
    assert marked == [("name", "Étie"), ("competition", "Cup")]


def test_an_older_document_never_replaces_a_newer_one(index: EventIndex) -> None:
    newer, older = (
        event("Arsenal v Chelsea", event_id="1", version=7),
        event("Leeds v Hull", event_id="1", version=6),
    )
    assert index.put([older, newer, older]) == 1
    assert index.put([older]) == 0
    assert index.put([newer]) == 0
    assert index.versions() == {"1": 7}
    assert index.count() == 1
    assert names(index, "arsenal") == ["Arsenal v Chelsea"]
    hold(index, event("Fulham v Bury", event_id="1", version=8))
    assert names(index, "arsenal") == []
    assert names(index, "fulham") == ["Fulham v Bury"]


def test_a_document_that_no_index_takes_is_named_and_the_others_are_taken(index: EventIndex) -> None:
    with pytest.raises(DocumentsRefused, match="too-far"):
        index.put([event("A v B"), event("C v D", event_id="too-far", starts_at_us=2**80), event("E v F")])
    assert sorted(index.versions()) == ["A-v-B", "E-v-F"]


def test_a_query_s_limit_is_checked() -> None:
    for limit in (0, -1, 51):
        with pytest.raises(ValueError, match=f"limit {limit} out of range: allowed are 1 to 50"):
            EventQuery(limit=limit)


def test_versions_of_some_and_of_all(index: EventIndex) -> None:
    assert index.versions() == {}
    assert index.versions(["1"]) == {}
    held = [
        event(f"Team {number} v Other", event_id=f"e{number}", version=number + 1) for number in range(2500)
    ]
    index.put(held)
    assert index.count() == 2500
    assert index.versions() == {document.event_id: document.version for document in held}
    assert index.versions(["e7", "e2499", "none"]) == {"e7": 8, "e2499": 2500}


def test_an_index_that_is_not_there_finds_nothing_and_is_not_filled(index: EventIndex) -> None:
    assert not index.is_filled()
    assert index.count() == 0
    assert names(index, "arsenal") == []
    hold(index, CRICKET)
    assert not index.is_filled()


def test_a_rebuild_replaces_everything(index: EventIndex) -> None:
    hold(index, event("Gone v Forgotten"), event("Arsenal v Chelsea", version=3))
    source = Source(
        [event("Arsenal v Chelsea", version=4), *(event(f"Team {number} v Other") for number in range(250))]
    )
    assert index.rebuild(source) == 251
    assert index.is_filled()
    assert index.versions() == source.versions()
    assert names(index, "gone") == []
    assert names(index, "arsenal") == ["Arsenal v Chelsea"]
    assert index.put([event("Arsenal v Chelsea", version=3)]) == 0
    hold(index, event("Arsenal v Chelsea", version=5))
    assert index.is_filled()
    assert index.versions(["Arsenal-v-Chelsea"]) == {"Arsenal-v-Chelsea": 5}


def test_a_rebuild_of_nothing_is_filled(index: EventIndex) -> None:
    assert index.rebuild(Source()) == 0
    assert index.is_filled()
    assert index.count() == 0


def test_what_is_put_during_a_rebuild_is_kept_and_what_ends_is_dropped(engine_settings: Settings) -> None:
    with opened(engine_settings) as putting, opened(engine_settings) as rebuilding:
        source = _MovingSource(
            [event(f"Team {number} v Other", event_id=f"e{number}") for number in range(1000)]
        )
        source.moved = lambda document: putting.put([document])
        hold(putting, *source.documents.values())
        assert rebuilding.rebuild(source) == len(source.documents)
        assert putting.versions() == rebuilding.versions() == source.versions()
        assert 2 in source.versions().values()
        assert "e999" not in source.versions()
        hold(putting, event("New v Newer", event_id="after"))
        assert names(putting, "newer") == names(rebuilding, "newer") == ["New v Newer"]


def test_searches_go_on_while_the_index_is_rebuilt(engine_settings: Settings) -> None:
    documents = [event(f"Team {number} v Other", event_id=f"e{number}") for number in range(300)]
    with opened(engine_settings) as searching, opened(engine_settings) as rebuilding:
        hold(rebuilding, *documents)
        ended, found = threading.Event(), []

        def search() -> None:
            while not ended.is_set():
                found.append(len(names(searching, "team", limit=20)))

        thread = threading.Thread(target=search)
        thread.start()
        try:
            for _ in range(3):
                rebuilding.rebuild(Source(documents))
        finally:
            ended.set()
            thread.join()
        assert set(found) == {20}


class _MovingSource(Source):
    """Events change, begin and end while a page is read: in the source first, then in the index."""

    moved: object = None

    def pages(self) -> Iterator[list[EventDocument]]:
        for number, page in enumerate(super().pages()):
            yield page
            changed = event("Changed v Other", event_id=f"e{number * 37}", version=2)
            begun = event("Begun v Other", event_id=f"begun{number}")
            self.documents.pop("e999", None)
            for document in (changed, begun):
                self.documents[document.event_id] = document
                assert callable(self.moved)
                self.moved(document)
