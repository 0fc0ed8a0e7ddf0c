"""What mails say is what the books say, to the penny, for any life of a bet; and nobody's text becomes
markup.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from datetime import time
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange_platform.domain.bets import Bet, BetStatus
from exchange_platform.mail.message import OutgoingMail
from exchange_platform.notifications.amounts import amount, odds_text, signed_amount
from exchange_platform.notifications.mailing import ChangeMails
from exchange_platform.notifications.planning import MailPace
from exchange_platform.notifications.reasons import in_plain_words
from exchange_platform.notifications.samples import Sample, samples
from exchange_platform.notifications.unsubscribing import PreferenceLinks
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.stores.operational.database import Database, ledger
from exchange_platform.stores.operational.mails.mails import MailOutcome, MailState
from exchange_platform.stores.operational.tables.events import events, markets, selections
from tests.exchange_platform.stores.bet_lives import ended_as, lives, opened
from tests.exchange_platform.stores.bet_tables import new_database
from tests.support.notification_parts import change, register

PACE = MailPace(0, 0, 60_000_000, time(0))
LINKS = PreferenceLinks((b"k" * 32,), "https://exchange.example")


def rendered(database: Database, updates: Sequence[Bet]) -> list[OutgoingMail]:
    """The mails of these updates, in the order in which they would leave. Digests leave at once."""
    queue = ChangeMails(database, LINKS, PACE, SYSTEM_CLOCK)
    queue.claim(1)
    found: list[OutgoingMail] = []
    for update in updates:
        change(database, update)
    while waiting := queue.collect(100, ()):
        for mail, outgoing in zip(waiting, queue.render(waiting), strict=True):
            assert isinstance(outgoing, OutgoingMail), outgoing
            found.append(outgoing)
            queue.mark([MailOutcome(mail, MailState.SENT)])
    return found


def pence(text: str) -> int:
    """An amount of a mail, in minor units."""
    sign = -1 if text.startswith("-") else 1
    return sign * int(Decimal(text.lstrip("+-").removeprefix("£").replace(",", "")).scaleb(2))


def balance_change(mail: OutgoingMail) -> int:
    """What the mail says that the balance changes by; 0 where it does not speak of it."""
    told = re.findall(r"Your balance change[sd] by: +(\S+)", mail.text)
    assert len(told) <= 1
    if told:
        assert told[0] in mail.html
    return pence(told[0]) if told else 0


@settings(max_examples=40, deadline=None)
@given(life=lives(1))
def test_the_mails_of_a_bet_add_up_to_its_ledger(life: list[Bet]) -> None:
    with tempfile.TemporaryDirectory() as directory, new_database(Path(directory)) as database:
        register(database, life[0].user_id)
        mails = rendered(database, life)
        with database.read() as connection:
            in_books = {
                row.reference_version: int(row.amount)
                for row in connection.execute(
                    sa.select(ledger.c.reference_version, sa.func.sum(ledger.c.amount_minor).label("amount"))
                    .where(ledger.c.reference == "b1", ledger.c.account == "balance")
                    .group_by(ledger.c.reference_version)
                )
            }
        told = {int(mail.mail_id.rpartition(".")[2]): balance_change(mail) for mail in mails}
        assert {version: moved for version, moved in told.items() if moved} == {
            version: moved for version, moved in in_books.items() if moved
        }
        last = life[-1]
        if last.status is BetStatus.SETTLED and last.result is not None and last.result.value != "void":
            assert signed_amount(last.profit_minor, "GBP") in mails[-1].text
            assert amount(-last.commission_minor, "GBP") in mails[-1].text


def test_events_markets_and_selections_are_called_by_their_names(tmp_path: Path) -> None:
    with new_database(tmp_path) as database:
        register(database, "u1", name="<b>Ann</b>")
        with database.write() as connection:
            times = {"updated_at_us": 0, "changed_at_us": 0}
            connection.execute(
                sa.insert(events).values(
                    event_id="e1", version=1, name="Ann's XI & <i>Co</i> v Bob", sport="football", status="IN_PLAY",
                    participants="[]", scores="[]", index_version=1, **times,
                )
            )  # fmt: skip
            connection.execute(
                sa.insert(markets).values(
                    market_id="m1", event_id="e1", version=1, name="Match odds", status="OPEN", in_play=False,
                    bet_delay_s=0.0, number_of_winners=1, number_of_selections=3, commission_rate="0.05",
                    currency="GBP", **times,
                )
            )  # fmt: skip
            connection.execute(
                sa.insert(selections).values(
                    market_id="m1", selection_id=1, handicap="0", place=0, name="Ann's XI", status="ACTIVE"
                )
            )
        (mail,) = rendered(database, [opened()])
    assert mail.subject == "Bet accepted: Ann's XI, Ann's XI & <i>Co</i> v Bob"
    assert "Market:    Match odds" in mail.text
    assert "<i>" not in mail.html
    assert "<b>Ann" not in mail.html
    assert "Ann&#39;s XI &amp; &lt;i&gt;Co&lt;/i&gt; v Bob" in mail.html
    assert mail.unsubscribe_url == LINKS.url("u1")
    assert LINKS.url("u1") in mail.text


def test_a_rejection_says_why_in_plain_words(tmp_path: Path) -> None:
    with new_database(tmp_path) as database:
        register(database, "u1")
        first = opened(status=BetStatus.PENDING)
        refused = ended_as(BetStatus.REJECTED, "cancelled_minor")(first)
        refused = msgspec.structs.replace(refused, reason="market suspended during the bet delay")
        (mail,) = rendered(database, [first, refused])
    assert mail.subject.startswith("Bet rejected")
    assert "The market was suspended while your bet waited to be placed." in mail.text


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (None, None),
        ("  ", None),
        ("unknown selection: 7", "The exchange does not have this selection in the market."),
        ("something\r\nnew", "The exchange says: something new"),
    ],
)
def test_reasons_are_sentences_or_quoted_on_one_line(reason: str | None, words: str | None) -> None:
    assert in_plain_words(reason) == words


def test_amounts_and_odds_are_exact() -> None:
    assert amount(123_456_789, "GBP") == "£1,234,567.89"
    assert amount(-5, "GBP") == "-£0.05"
    assert amount(1_234, "JPY") == "¥1,234"
    assert amount(50, "USD") == "0.50 USD"
    assert signed_amount(0, "EUR") == "€0.00"
    assert signed_amount(7, "EUR") == "+€0.07"
    assert [odds_text(Decimal(odds)) for odds in ("2", "2.5", "1.985", "1000")] == [
        "2.00",
        "2.50",
        "1.985",
        "1000.00",
    ]


@given(minor=st.integers(-(10**13), 10**13))
def test_an_amount_reads_back_as_what_it_was(minor: int) -> None:
    assert pence(amount(minor, "GBP")) == pence(signed_amount(minor, "GBP")) == minor


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "background")]


@pytest.mark.parametrize("sample", list(samples()), ids=lambda sample: sample.name)
def test_every_kind_of_mail_is_harmless_markup_that_loads_nothing(sample: Sample) -> None:
    tags = _Tags()
    tags.feed(sample.mail.html)
    assert not tags.tags & {"script", "img", "link", "iframe", "object", "form", "base", "i"}
    assert not any(name.startswith("on") for name in tags.attributes)
    assert all(link.startswith("https://exchange.example/") for link in tags.links)
    assert "url(" not in sample.mail.html
    assert "@import" not in sample.mail.html
    assert "undefined" not in sample.mail.text.lower()
    assert "&#" not in sample.mail.text
    assert "&lt;" not in sample.mail.text
