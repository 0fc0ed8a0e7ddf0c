"""The report's forms are as documented, and a digest is what another program would compute."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from exchange_platform.domain.bet_digest import DIGESTED, bet_digest
from exchange_platform.domain.exchange_reports import json_schema

DOCS = Path(__file__).parents[3] / "docs"


def test_the_documented_schema_is_the_reports() -> None:
    assert json.loads((DOCS / "exchange-report.schema.json").read_text()) == json_schema()


def test_a_digest_is_the_md5_of_the_documented_text() -> None:
    text = "bet-1|4|SETTLED|won|500|0|0|0|0|750|750|37"
    assert f"`{text}`" in (DOCS / "exchange.md").read_text()
    values = ("bet-1", 4, "SETTLED", "won", 500, 0, 0, 0, 0, 750, 750, 37)
    assert len(values) == len(DIGESTED)
    assert bet_digest(*values) == hashlib.md5(text.encode()).hexdigest()[:16]
    assert bet_digest("bet-1", 1, "OPEN", None, 0) == hashlib.md5(b"bet-1|1|OPEN||0").hexdigest()[:16]
