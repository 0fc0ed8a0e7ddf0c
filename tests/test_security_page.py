"""docs/security.md makes no claim that no test holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text()
CLAIMS = PAGE[PAGE.index("## The boundaries") : PAGE.index("## What is not protected")]
NAMED = re.compile(r"`(test_\w+)`")
# These say who is trusted or point elsewhere; nothing that a test could hold.
NO_CLAIMS = (
    "- Whoever may write to the stream",
    "- Whoever publishes a bad version",
    "- The Dagster UI and the board on 127.0.0.1",
)


def defined_tests() -> set[str]:
    found: set[str] = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        found.update(re.findall(r"^(?:async )?def (test_\w+)\(", file.read_text(), re.MULTILINE))
    return found


def test_every_test_that_is_named_exists() -> None:
    named = set(NAMED.findall(PAGE))
    assert len(named) > 60
    assert named - defined_tests() == set()


@pytest.mark.parametrize("start", ["- ", "| "])
def test_every_claim_names_a_test(start: str) -> None:
    paragraphs = re.split(r"\n(?=- |\| |\n|#)", CLAIMS)
    claims = [one.strip() for one in paragraphs if one.strip().startswith(start)]
    claims = [one for one in claims if not one.startswith(("| boundary", "|---"))]
    assert len(claims) > 10
    assert [one for one in claims if not NAMED.search(one) and not one.startswith(NO_CLAIMS)] == []
