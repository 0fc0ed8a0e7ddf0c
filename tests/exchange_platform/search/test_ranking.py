"""Queries understood, typos, the order of candidates, marks: rules that hold for any input."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.search.aliases import OPTIONAL
from exchange_platform.search.documents import LONGEST_QUERY, MAX_HITS, EventQuery
from exchange_platform.search.expressions import (
    CANDIDATES,
    AllOf,
    Expression,
    Term,
    Typo,
    Within,
    spellings_with_letter_left_out,
)
from exchange_platform.search.highlights import marked
from exchange_platform.search.plan import MAX_WORDS, possible_typo, steps, understand
from exchange_platform.search.ranking import fit, nearly_begins
from exchange_platform.search.terms import LONGEST_TERM
from tests.exchange_platform.search.test_terms import document

NOW_US = 1_790_000_000_000_000
LETTERS = st.text(alphabet="abcd", min_size=0, max_size=7)


def leaves(part: Expression | Within) -> list[Term | Within]:
    if isinstance(part, Term | Within):
        return [part]
    return [leaf for one in part.parts for leaf in leaves(one)]


@given(st.text(max_size=300), st.booleans(), st.none() | st.text(max_size=20))
def test_any_text_has_plans_of_short_terms_and_whole_points(
    text: str, open_only: bool, sport: str | None
) -> None:
    query = EventQuery(text=text, open_only=open_only, sport=sport)
    words = understand(text)
    assert len(words.demanded) <= MAX_WORDS
    found = list(steps(query, words, NOW_US))
    assert 1 <= len(found) <= 2
    for plan in (plan for step in found for plan in step.plans):
        every = [leaf for part in (*plan.required, *plan.preferred) for leaf in leaves(part)]
        assert 0 < plan.most <= sum(leaf.points for leaf in every)
        for leaf in every:
            assert leaf.points >= 0
            if isinstance(leaf, Term):
                assert leaf.text.split() == [leaf.text] or leaf.text == "sport-"
                assert len(leaf.text) <= LONGEST_TERM + len("sport-")


def test_more_than_the_longest_query_is_not_read() -> None:
    assert understand("a" * LONGEST_QUERY + " b") == understand("a" * LONGEST_QUERY)
    assert CANDIDATES > MAX_HITS


def test_words_that_a_query_could_do_without() -> None:
    assert [forms[0][0] for forms in understand("the arsenal v fc porto").demanded] == ["arsenal", "porto"]
    assert understand("the arsenal v fc porto").optional == ("the", "fc")
    for word in OPTIONAL:
        assert [forms[0][0] for forms in understand(word).demanded] == [word]


def test_a_word_with_a_hyphen_is_one_word_or_several() -> None:
    (forms,) = understand("Saint-Étienne").demanded
    assert forms == (("saintetienne",), ("saint", "etienne"))
    step = next(steps(EventQuery(text="Saint-Étienne"), understand("Saint-Étienne"), NOW_US))
    word = step.plans[0].required[0]
    assert any(isinstance(part, AllOf) for part in word.parts)  # type: ignore[union-attr]


def test_words_that_begin_alike_must_be_words_of_their_own() -> None:
    assert understand("man ma m mon").repeated == (("ma", 2), ("m", 4))
    assert understand("mon mon").repeated == (("mon", 2),)
    assert understand("arsenal chelsea").repeated == ()


@given(LETTERS, LETTERS)
def test_a_typo_is_one_edit_of_a_beginning_of_the_word(word: str, typed: str) -> None:
    wanted = word.startswith(typed)
    if possible_typo(typed) is Typo.ANY:
        wanted = any(edits(word[:length], typed) <= 1 for length in range(len(word) + 1))
    elif possible_typo(typed) is Typo.LETTER_LEFT_OUT:
        wanted = wanted or any(
            word[:place] + word[place + 1 : 4] == typed for place in range(3) if len(word) >= 4
        )
    assert nearly_begins(word, typed) == wanted


def edits(one: str, other: str) -> int:
    """The optimal string alignment distance, as both engines count it."""
    rows = [list(range(len(other) + 1))]
    for i in range(1, len(one) + 1):
        rows.append([i])
        for j in range(1, len(other) + 1):
            best = min(
                rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (one[i - 1] != other[j - 1])
            )
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                best = min(best, rows[i - 2][j - 2] + 1)
            rows[i].append(best)
    return rows[-1][-1]


def test_numbers_and_short_words_are_taken_as_they_are() -> None:
    assert [possible_typo(term) for term in ("ab", "1430", "abc", "abcd")] == [
        Typo.NONE,
        Typo.NONE,
        Typo.LETTER_LEFT_OUT,
        Typo.ANY,
    ]
    assert spellings_with_letter_left_out("abc") == (".abc", "a.bc", "ab.c")


def test_words_as_typed_fit_better_and_words_without_a_place_of_their_own_worse() -> None:
    places = (" arsenal", " chelsea")
    assert fit(understand("ars che"), places) > fit(understand("che ars"), places) == 0
    assert fit(understand("ars arse"), places) < 0
    assert fit(understand("arsnal arsenl"), places) < 0
    assert fit(understand("ars"), places) == fit(understand("premier league"), places) == 0
    assert fit(understand("ma m"), (" mali mal", " mon")) >= 0


@given(st.text(max_size=60), st.text(max_size=40), st.text(max_size=60))
def test_marks_are_in_order_apart_and_inside_the_text(name: str, competition: str, query: str) -> None:
    hit = marked(document(name, competition=competition), understand(query))
    for field, text in (("name", name), ("competition", competition)):
        last = -1
        for mark in (mark for mark in hit.highlights if mark.field == field):
            assert last < mark.start < mark.end <= len(text)
            last = mark.end


def test_what_was_typed_is_marked_else_what_it_stands_for() -> None:
    def marks(name: str, query: str) -> list[str]:
        return [name[mark.start : mark.end] for mark in marked(document(name), understand(query)).highlights]

    assert marks("Netherlands v Papua New Guinea", "neth new p") == ["Neth", "P", "New"]
    assert marks("Netherlands v Papua New Guinea", "png") == ["Papua New Guinea"]
    assert marks("Netherlands v Papua New Guinea", "nehterl") == ["Netherlands"]
    assert marks("Manchester United v O'Higgins", "utd ohig") == ["United", "O'Hig"]
    assert marks("Sa\u0301nchez v Weiß", "sanch weis") == ["Sa\u0301nch", "Weiß"]
    assert marks("Arsenal v Chelsea", "") == marks("Arsenal v Chelsea", "everton") == []


def test_letters_left_over_are_no_words() -> None:
    assert understand(string.punctuation + " \u200d\u0301").demanded == ()
