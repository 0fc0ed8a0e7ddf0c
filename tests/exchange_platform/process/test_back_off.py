"""Pauses between tries: they grow, end at a bound, and no count of failures overflows them."""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import exchange_platform
from exchange_platform.process.back_off import BackOff


def test_pauses_double_from_the_first_up_to_the_longest() -> None:
    back_off = BackOff(0.5, 5.0)
    assert [back_off.pause_s(failures) for failures in range(7)] == [0.0, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


@given(
    first_s=st.floats(1e-3, 100.0),
    longer=st.floats(1.0, 1e6),
    factor=st.floats(1.5, 10.0),
    failures=st.one_of(st.integers(1, 3000), st.sampled_from([sys.maxsize, 10**400])),
)
def test_no_count_of_failures_overflows_or_shortens_a_pause(
    first_s: float, longer: float, factor: float, failures: int
) -> None:
    back_off = BackOff(first_s, first_s * longer, factor=factor)
    pauses = [back_off.pause_s(failures + more) for more in (0, 1)]
    assert first_s <= pauses[0] <= pauses[1] <= back_off.max_s


def test_jitter_stays_within_its_part_and_is_the_rngs() -> None:
    back_off = BackOff(1.0, 60.0, jitter=0.25)
    pauses = [back_off.jittered_s(2_000, random.Random(seed)) for seed in range(50)]
    assert all(45.0 <= pause <= 75.0 for pause in pauses)
    assert len(set(pauses)) == 50
    assert pauses == [back_off.jittered_s(2_000, random.Random(seed)) for seed in range(50)]


@pytest.mark.parametrize(
    "values",
    [
        {"first_s": 0.0},
        {"first_s": 2.0},
        {"factor": 1.0},
        {"jitter": 1.0},
        {"jitter": -0.1},
        {"max_s": float("nan")},
    ],
)
def test_a_schedule_that_never_waits_or_never_grows_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="0 < first_s <= max_s"):
        BackOff(**({"first_s": 1.0, "max_s": 1.5} | values))


def test_nothing_else_in_the_library_computes_a_back_off_of_its_own() -> None:
    """An exponent that is a count of tries belongs into back_off.py, where it is bounded."""
    of_a_count = re.compile(
        r"(\*\*|<<)\s*(min\()?\(?\s*(self\.|mine\.|mail\.)?_?(tries|failures|attempts?|pauses|retries)\b"
    )
    library = Path(exchange_platform.__file__).parent
    found = [
        f"{path.relative_to(library)}: {line.strip()}"
        for path in sorted(library.rglob("*.py"))
        for line in path.read_text().splitlines()
        if of_a_count.search(line)
    ]
    assert found == []
