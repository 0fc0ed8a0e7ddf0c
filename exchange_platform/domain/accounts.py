"""Accounts: their states, what an address and a display name may be, which mail an owner wants. Pure; no I/O,
no clock.

Not here: whether a domain takes mail (mail_domains.py), or how an address is confirmed (confirmation/).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from email_validator import EmailNotValidError, validate_email

MAX_ADDRESS = 254
MAX_NAME_VISIBLE = 60
MAX_NAME_CODE_POINTS = 100
MAX_MARKS_IN_A_ROW = 4
_MAX_READ = 1000


class AccountState(StrEnum):
    """Where an account is in its life."""

    PENDING = "PENDING"
    """Registered; nobody has shown yet that the address is theirs."""
    CONFIRMED = "CONFIRMED"
    """The address takes mail, and its owner reads it."""
    UNDELIVERABLE = "UNDELIVERABLE"
    """A mail bounced for good, or its reader complained: no mail goes out but the confirmation that the owner
    asks for.
    """
    CLOSED = "CLOSED"
    """The end: its address may be registered again."""


_S = AccountState
TRANSITIONS: dict[AccountState, frozenset[AccountState]] = {
    _S.PENDING: frozenset({_S.CONFIRMED, _S.UNDELIVERABLE, _S.CLOSED}),
    _S.CONFIRMED: frozenset({_S.UNDELIVERABLE, _S.CLOSED}),
    _S.UNDELIVERABLE: frozenset({_S.CONFIRMED, _S.CLOSED}),
    _S.CLOSED: frozenset(),
}
"""Which states may follow each. An undeliverable account comes back by a confirmation and in no other way."""


class MailChoice(StrEnum):
    """Which mails about bets an owner wants. Voids and re-settlements are sent whatever was chosen."""

    ALL = "all"
    """Every change of a bet, at once or gathered."""
    SETTLEMENTS = "settlements"
    """Results alone."""
    DIGEST = "digest"
    """Every change, gathered into digests."""
    NONE = "none"
    """Nothing but what must be sent: what one-click unsubscribing chooses."""


class InvalidAddress(ValueError):
    """No mail could be sent to the address. The message says what was wrong and what is allowed, for
    people.
    """


class InvalidName(ValueError):
    """A display name that could not be shown. The message says what was wrong and what is allowed, for
    people.
    """


@dataclass(frozen=True, slots=True)
class Address:
    """An email address, ASCII only (a domain of another script in its IDNA form).

    `text` is what mail is sent to, `key` what makes two addresses the same: servers may, but do not, tell
    local parts apart by case. Dots and plus signs are the mailbox's own: `a.b+c@` and `ab@` are two
    addresses.
    """

    text: str
    key: str

    @property
    def domain(self) -> str:
        """The part after the @."""
        return self.text.rpartition("@")[2]


def parse_address(text: str) -> Address:
    """The address, checked by its syntax alone. Raises `InvalidAddress`.

    Refused too: quoted local parts, IP addresses for domains, domains that no mail reaches (localhost,
    .test), and local parts beyond ASCII, which most mail servers can't be sent.
    """
    if len(text) > _MAX_READ:
        raise InvalidAddress(
            f"the address has {len(text)} characters; an email address has {MAX_ADDRESS} at most"
        )
    try:
        checked = validate_email(
            text.strip(" "), strict=True, check_deliverability=False, allow_smtputf8=False
        )
    except EmailNotValidError as error:
        raise InvalidAddress(_one_line(str(error))) from None
    except UnicodeError:  # lone surrogates, which JSON can carry
        raise InvalidAddress("the address has characters that no text can have") from None
    if "=?" in checked.local_part:
        raise InvalidAddress("the part before the @ has =?, which mail programs take for an encoded word")
    ascii_text = checked.ascii_email
    if ascii_text is None or len(ascii_text) > MAX_ADDRESS or not ascii_text.isascii():
        raise InvalidAddress(f"the address is longer than the {MAX_ADDRESS} characters that are allowed")
    return Address(ascii_text, ascii_text.lower())


def parse_name(text: str) -> str:
    """The display name as it is kept: NFC, without spaces around it, one space between words. Raises
    `InvalidName`.

    Any script, and any character that can be seen: 1 to 60 of them. What can't be seen or turns the text
    around it (controls, bidirectional overrides, fillers) is refused. A name is data: whoever shows it
    escapes it.
    """
    if len(text) > _MAX_READ:
        raise InvalidName(_too_long(len(text)))
    name = re.sub(r" {2,}", " ", unicodedata.normalize("NFC", text).strip(" "))
    for place, character in enumerate(name):
        if why := _why_refused(name, place):
            raise InvalidName(
                f"the display name has {why} (U+{ord(character):04X}); letters, digits, marks and symbols that can be seen are allowed"
            )
    visible = sum(1 for character in name if not _is_mark(character) and character not in _JOINERS)
    if visible == 0:
        raise InvalidName("the display name is empty; 1 to 60 visible characters are allowed")
    if visible > MAX_NAME_VISIBLE or len(name) > MAX_NAME_CODE_POINTS:
        raise InvalidName(_too_long(visible))
    if re.search(rf"[^\0]{{{MAX_MARKS_IN_A_ROW + 1}}}", "".join("x" if _is_mark(c) else "\0" for c in name)):
        raise InvalidName(
            f"the display name has more than {MAX_MARKS_IN_A_ROW} marks on one character; fewer are allowed"
        )
    return name


def _too_long(visible: int) -> str:
    return (
        f"the display name has {visible} characters; 1 to {MAX_NAME_VISIBLE} visible ones are allowed,"
        f" and {MAX_NAME_CODE_POINTS} with all their marks"
    )


# Joiners make what people write (Persian words, composed emoji), between two visible characters only.
_JOINERS = "\u200c\u200d"
_VARIATION_SELECTORS = frozenset(map(chr, range(0xFE00, 0xFE10)))
# Letters and symbols by their category that show nothing.
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc")
_WHY = {
    "Cc": "a control character",
    "Cf": "an invisible formatting character",
    "Cs": "half a character (a lone surrogate)",
    "Co": "a character of private use",
    "Cn": "a character that is not assigned",
    "Zl": "a line break",
    "Zp": "a paragraph break",
    "Zs": "a space other than the plain one",
}


def _is_mark(character: str) -> bool:
    return character in _VARIATION_SELECTORS or unicodedata.category(character).startswith("M")


def _why_refused(name: str, place: int) -> str | None:
    """Why the character at that place can't be in a name; None if it can."""
    character = name[place]
    if character == " ":
        return None
    if character in _JOINERS:
        between = 0 < place < len(name) - 1 and not {name[place - 1], name[place + 1]} & {*_JOINERS, " "}
        return None if between else "a joiner with nothing to join"
    if character in _BLANKS:
        return "a character that shows nothing"
    if _is_mark(character) and (place == 0 or name[place - 1] == " "):
        return "a mark on nothing"
    return _WHY.get(unicodedata.category(character))


def _one_line(text: str) -> str:
    """A message that may quote what was given, on one line and without what can't be seen."""
    return " ".join(
        "".join(
            character if unicodedata.category(character)[0] not in "CZ" else " " for character in text
        ).split()
    )
