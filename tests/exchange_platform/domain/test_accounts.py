"""Which states follow which, and what an address and a display name may be, for any text that anybody
types.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exchange_platform.domain.accounts import (
    MAX_ADDRESS,
    MAX_NAME_CODE_POINTS,
    TRANSITIONS,
    AccountState,
    InvalidAddress,
    InvalidName,
    parse_address,
    parse_name,
)

T = TypeVar("T")


def test_every_state_has_its_transitions_and_a_closed_account_stays_closed() -> None:
    assert set(TRANSITIONS) == set(AccountState)
    assert TRANSITIONS[AccountState.CLOSED] == frozenset()
    assert all(state not in after for state, after in TRANSITIONS.items())
    assert [state for state in AccountState if AccountState.CONFIRMED in TRANSITIONS[state]] == [
        AccountState.PENDING,
        AccountState.UNDELIVERABLE,
    ]


@pytest.mark.parametrize(
    ("text", "sent_to", "key"),
    [
        ("ann@example.com", "ann@example.com", "ann@example.com"),
        ("Ann.Lee+bets@EXAMPLE.com", "Ann.Lee+bets@example.com", "ann.lee+bets@example.com"),
        (" ann@example.com ", "ann@example.com", "ann@example.com"),
        ("o'brien@example.com", "o'brien@example.com", "o'brien@example.com"),
        ("ann@bücher.example", "ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
        ("ann@BÜCHER.example", "ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
    ],
)
def test_an_address_is_kept_as_mail_needs_it_and_known_whatever_its_case(
    text: str, sent_to: str, key: str
) -> None:
    address = parse_address(text)
    assert (address.text, address.key) == (sent_to, key)
    assert address.domain == sent_to.rpartition("@")[2]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "ann",
        "ann@",
        "@example.com",
        "ann@example",
        "ann@@example.com",
        "ann@localhost",
        "ann@shop.test",
        "ann@127.0.0.1",
        "ann@[127.0.0.1]",
        "ann..lee@example.com",
        ".ann@example.com",
        "ann @example.com",
        '"ann lee"@example.com',
        "Ann <ann@example.com>",
        "ann@example.com, bob@example.com",
        "änn@example.com",
        "ann@example.com\n",
        "ann@example.com\r\nBcc: all@example.com",
        "ann\r\nBcc: all@example.com@example.com",
        "ann\0@example.com",
        "ann@exam\u202eple.com",
        "ann@example.com\u200b",
        "a" * 65 + "@example.com",
        "ann@" + ".".join(["b" * 60] * 5) + ".com",
        "a@b" * 100_000,
        "ann@\ud800.com",
        "\ud800@example.com",
    ],
)
def test_what_no_mail_reaches_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(InvalidAddress) as refused:
        parse_address(text)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 1000


def _unless_refused(parse: Callable[[str], T], text: str, refusal: type[Exception]) -> T | None:
    try:
        return parse(text)
    except refusal as error:
        why = str(error)
    assert why.isprintable()
    return None


anything = st.text(st.characters(exclude_categories=()), max_size=80)
near_addresses = st.from_regex(r"[a-zA-Z0-9.+'\-_ ]{0,70}@[a-zA-Z0-9.\-äß ]{0,70}", fullmatch=True)


@given(st.one_of(anything, near_addresses))
def test_whatever_is_typed_is_a_sound_address_or_refused(text: str) -> None:
    address = _unless_refused(parse_address, text, InvalidAddress)
    if address is None:
        return
    assert address.text.isascii()
    assert address.text.isprintable()
    assert " " not in address.text
    assert address.text.count("@") == 1
    assert len(address.text) <= MAX_ADDRESS
    assert parse_address(address.text) == address
    assert parse_address(address.text.upper()).key == address.key


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Ann", "Ann"),
        ("  Ann   Lee ", "Ann Lee"),
        ("e\u0301", "é"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("{{ 7*7 }} %s ' \"", "{{ 7*7 }} %s ' \""),
        ("李娜", "李娜"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("नमस्ते", "नमस्ते"),
        ("x" * 60, "x" * 60),
    ],
)
def test_a_name_is_any_visible_text_of_any_script_and_markup_is_only_text(text: str, kept: str) -> None:
    assert parse_name(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\u200b",
        "\u200d",
        "\u3164",
        "\u2800",
        "x" * 61,
        "x" * 1_000_000,
        "Ann\nLee",
        "Ann\rSubject: x",
        "Ann\0",
        "Ann\u202egnirts",
        "Ann\u2066Lee",
        "Ann\u00a0Lee",
        "Ann\u2028Lee",
        "Ann\ud800",
        "Ann\ue000",
        "\u0301Ann",
        "Z" + "\u0301" * 6,
        "\u200dAnn",
        "Ann\u200d",
        "A\u200d\u200dn",
        ("x" + "\u0301" * 3) * 60,
    ],
)
def test_a_name_that_can_t_be_seen_or_disturbs_others_is_refused(text: str) -> None:
    with pytest.raises(InvalidName) as refused:
        parse_name(text)
    assert str(refused.value).isprintable()


@given(anything)
@example("\u0958")
def test_whatever_is_typed_is_a_sound_name_or_refused(text: str) -> None:
    name = _unless_refused(parse_name, text, InvalidName)
    if name is None:
        return
    assert 1 <= len(name) <= MAX_NAME_CODE_POINTS
    assert name == name.strip()
    assert unicodedata.is_normalized("NFC", name)
    assert not {unicodedata.category(character) for character in name} & {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert parse_name(name) == name
    assert json.loads(json.dumps(name)) == name
