"""Thousands of strange registrations: each is taken or refused with a reason, and what was taken can be
mailed and shown. The same ones every time.
"""

from __future__ import annotations

import email
import email.policy
import json
import random
import unicodedata
from collections import Counter

import pytest
import sqlalchemy as sa

from exchange_platform.mail.message import OutgoingMail, compose
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.tables.accounts import accounts as table
from tests.exchange_platform.api.conftest import serving_accounts
from tests.support.account_parts import SECOND, AccountsApi

BOUNDLESS = dict.fromkeys(
    (
        "limit_registrations",
        "limit_registrations_client",
        "limit_registrations_client_address",
        "limit_mails_address",
    ),
    "1/second",
)
HEADERS = {
    *("from", "to", "subject", "date", "message-id", "auto-submitted", "mime-version", "content-type"),
}

LOCALS = [
    "ann",
    "a",
    "ann.lee",
    "o'brien",
    "ann+bets",
    "x" * 64,
    "!#$%&'*+-/=?^_`{|}~",
    "0",
    "ANN",
    "postmaster",
]
DOMAINS = [
    "example.com",
    "EXAMPLE.org",
    "bücher.example",
    "例え.example",
    "a.b.c.d.example.net",
    "xn--bcher-kva.example",
]
HOSTILE = [
    *(
        "\r\n",
        "\n",
        "\r",
        "\0",
        "\t",
        " ",
        "\x7f",
        "\x85",
        "\u2028",
        "\u202e",
        "\u200b",
        "\ufeff",
        "\ud800",
        "\uffff",
    ),
    *(
        "\r\nBcc: x@example.com",
        "%0d%0a",
        "<",
        ">",
        '"',
        "\\",
        ",",
        ";",
        ":",
        "(",
        ")",
        "[",
        "]",
        "@",
        "..",
        "--",
    ),
    *(
        "<script>",
        "{{7*7}}",
        "${x}",
        "' OR 1=1 --",
        "=?utf-8?q?x?=",
        "../../etc/passwd",
        "\U0001f600",
        "ß",
        "İ",
        "ﬁ",
    ),
    *(
        "é",
        "e\u0301",
        "\u0301" * 9,
        "א",
        "ا",
        "％",
        "＠",
        "。",
        "xn--",
        "xn--a-ecp",
        "\U000e0041",
        "\u3164",
        "a" * 300,
    ),
]


class _Strange:
    """Draws strange values, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def address(self) -> object:
        return self._drawn(
            [self._near_address, self._near_address, self._near_address, self._text, self._no_text]
        )

    def name(self) -> object:
        return self._drawn([self._near_name, self._near_name, self._text, self._no_text])

    def _drawn(self, ways: list[object]) -> object:
        way = self._chance.choice(ways)
        assert callable(way)
        return way()

    def _near_address(self) -> str:
        chance = self._chance
        text = f"{chance.choice(LOCALS)}{chance.randrange(10**6)}@{chance.choice(DOMAINS)}"
        return self._spoiled(text, chance.choice((0, 0, 1, 1, 2, 4)))

    def _near_name(self) -> str:
        chance = self._chance
        words = ("Ann", "Lee", "李娜", "Ñandú", "می\u200cخواهم", "👩\u200d🚀", "O'Neil", "van", "der", "X Æ")
        return self._spoiled(
            " ".join(chance.choices(words, k=chance.randrange(1, 6))), chance.choice((0, 0, 1, 2))
        )

    def _spoiled(self, text: str, times: int) -> str:
        for _ in range(times):
            place = self._chance.randrange(len(text) + 1)
            text = text[:place] + self._chance.choice(HOSTILE) + text[place + self._chance.choice((0, 1)) :]
        return text

    def _text(self) -> str:
        ranges = [
            (0, 0x7F),
            (0x80, 0x24F),
            (0x300, 0x36F),
            (0x590, 0x6FF),
            (0x2000, 0x206F),
            (0xD7F0, 0xFFFF),
            (0x1F000, 0x1FAFF),
            (0, 0x10FFFF),
        ]
        low, high = self._chance.choice(ranges)
        return "".join(
            chr(self._chance.randint(low, high)) for _ in range(self._chance.choice((0, 1, 5, 40, 70)))
        )

    def _no_text(self) -> object:
        return self._chance.choice(
            [None, 0, -1.5, True, [], ["ann@example.com"], {}, {"$ne": ""}, "", "null", 10**30]
        )


def _registered(accounts: AccountsApi, count: int) -> Counter[int]:
    strange = _Strange(3)
    statuses: Counter[int] = Counter()
    for _ in range(count):
        body = json.dumps({"email": strange.address(), "display_name": strange.name()})
        answer = accounts.application.post(
            "/accounts", content=body, headers={"content-type": "application/json"}
        )
        accounts.parts.clock.now += SECOND  # no limit is ever reached
        statuses[answer.status_code] += 1
        told = answer.json()
        if answer.status_code == 202:
            assert told["state"] == "PENDING", body
        else:
            assert (answer.status_code, answer.headers["content-type"]) == (
                422,
                "application/problem+json",
            ), body
            assert told["code"] in ("invalid_request", "invalid_address", "invalid_name"), body
            assert told["detail"].isprintable(), body
    return statuses


def _check_what_was_taken(accounts: AccountsApi, most: int) -> None:
    with accounts.parts.database.read() as connection:
        rows = connection.execute(sa.select(table).order_by(table.c.account_id)).all()
    for row in rows:
        assert row.email.isascii()
        assert row.email_key == row.email.lower()
        assert unicodedata.is_normalized("NFC", row.display_name)
    for mail in accounts.parts.mails.render(accounts.parts.mails.collect(most, ())):
        assert isinstance(mail, OutgoingMail)
        raw = compose(mail, "Exchange <mail@exchange.example>").as_bytes()
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert {name.lower() for name in message.keys()} == HEADERS  # noqa: SIM118
        (recipient,) = message["To"].addresses
        assert (recipient.addr_spec, recipient.display_name) == (mail.to_address, "")
    links = accounts.anybody.app.state.services.preference_links  # type: ignore[attr-defined]
    for row in rows[:most]:
        page = accounts.anybody.get("/unsubscribe", params={"token": links.token(row.account_id)}).text
        (shown,) = [line for line in page.splitlines() if "<bdi>" in line]
        inside = shown.partition("<bdi>")[2].partition("</bdi>")[0]
        assert not set("<>\"'") & set(inside)


@pytest.mark.parametrize(
    ("count", "checked"), [(1_000, 50), pytest.param(10_000, 10_000, marks=pytest.mark.faults)]
)
def test_strange_registrations_break_nothing(settings: Settings, count: int, checked: int) -> None:
    with serving_accounts(settings, **BOUNDLESS, anonymous_requests_per_s=10_000) as accounts:
        statuses = _registered(accounts, count)
        assert set(statuses) == {202, 422}
        assert statuses[202] > count / 20
        assert statuses[422] > count / 2
        assert sum(accounts.parts.accounts.counts().values()) == statuses[202]
        _check_what_was_taken(accounts, checked)
