"""Text to terms: folding, parts of words, places in the text, all that an event is found by."""

from __future__ import annotations

import string
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.domain.events import EventStatus
from exchange_platform.search.documents import EventDocument
from exchange_platform.search.terms import (
    LONGEST_TERM,
    compounds,
    compounds_of_any,
    event_terms,
    fold,
    name_tokens,
    one_word,
)


def document(name: str, **told: object) -> EventDocument:
    stated = {
        "event_id": "1",
        "version": 1,
        "sport": "football",
        "status": EventStatus.SCHEDULED,
        "open": True,
        **told,
    }
    return EventDocument(name=name, **stated)  # type: ignore[arg-type]


def words(text: str) -> list[list[str]]:
    return [[part.term for part in parts] for parts in compounds(text)]


def test_words_are_folded_and_split() -> None:
    assert words("Atlético Madrid v Bodø/Glimt") == [["atletico"], ["madrid"], ["v"], ["bodo"], ["glimt"]]
    assert words("O’Brien, A.C. Milan & Saint-Étienne") == [
        ["o", "brien"],
        ["a", "c"],
        ["milan"],
        ["saint", "etienne"],
    ]
    assert words("  --x-- 14:30 ") == [["x"], ["14", "30"]]
    assert words("Straße ŁÓDŹ İstanbul ﬁne") == [["strasse"], ["lodz"], ["istanbul"], ["fine"]]
    assert words("") == words(" - ' ? ") == []


@given(st.text(alphabet=string.printable, max_size=60))
def test_plain_text_is_read_as_any_other(text: str) -> None:
    assert compounds(text) == compounds_of_any(text)


@given(st.text(max_size=60))
def test_every_word_stands_where_it_says(text: str) -> None:
    last = 0
    for part in (part for parts in compounds(text) for part in parts):
        assert last <= part.start < part.end <= len(text)
        assert "".join(fold(character) for character in text[part.start : part.end]) == part.term
        assert not any(character.isspace() for character in part.term)
        last = part.end


@given(st.text(max_size=40))
def test_case_and_composition_do_not_matter(text: str) -> None:
    plain = words(unicodedata.normalize("NFC", text))
    assert words(unicodedata.normalize("NFD", text)) == plain
    assert words(text.swapcase().casefold()) == words(text.casefold())


@given(st.text(max_size=200))
def test_terms_of_any_name_are_short_and_without_spaces(name: str) -> None:
    terms = event_terms(document(name, competition=name, participants=(name,)))
    for field in (terms.words, terms.prefixes, terms.joined, terms.others):
        for term in field:
            assert 0 < len(term) <= LONGEST_TERM + 3
            assert term.split() == [term]


def test_a_word_has_its_other_spellings_at_its_own_place() -> None:
    tokens = {(token.term, token.start, token.end) for token in name_tokens("Man Utd v Köln")}
    for term, start, end in (
        ("man", 0, 3), ("utd", 4, 7), ("united", 4, 7), ("manchester", 0, 7), ("manchesterunited", 0, 7), ("mu", 0, 7),
        ("koln", 10, 14), ("koeln", 10, 14), ("cologne", 10, 14),
    ):  # fmt: skip
        assert (term, start, end) in tokens


def test_terms_of_an_event() -> None:
    terms = event_terms(
        document(
            "Mali v Malta",
            competition="Friendly",
            country="de",
            participants=("Mali", "Malta"),
            sport="Football",
        )
    )
    assert terms.words == ("mali", "malta")
    assert terms.places == (" mali", " malta")
    assert set(terms.prefixes) == {"m", "ma", "mal", "mali", "malt", "malta", "m+2", "ma+2", "mal+2"}
    assert terms.joined == ("m", "ma", "mal", "mali", "malt", "malta")
    assert {"friendly", "germany", "football", "soccer"} <= set(terms.others)


def test_a_race_s_runners_count_less_than_its_name() -> None:
    terms = event_terms(
        document("14:30 Ascot", participants=("Stradivarius", "Enable", "Galileo", "Frankel", "Arkle"))
    )
    assert {"14", "30", "1430", "ascot", "1430ascot"} <= set(terms.words)
    assert "stradivarius" not in terms.words
    assert "strad" in terms.others


def test_a_side_that_the_name_leaves_out_is_found_like_one_of_it() -> None:
    terms = event_terms(document("The Ashes, 1st Test", participants=("England", "Australia")))
    assert {"ashes", "england", "australia"} <= set(terms.words)


def test_one_word_of_a_whole_text() -> None:
    assert one_word(" Horse  Racing ") == one_word("HORSE-RACING") == "horseracing"
    assert one_word("?") == ""
