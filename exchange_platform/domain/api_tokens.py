"""What an application's token is and what it grants. Pure; no I/O, no clock. Not here: where tokens are kept
(accounts/api_tokens.py), HTTP (access/applications.py).

A token is 256 random bits. At rest is its SHA-256, which nobody can turn back: no word list holds such a
text, so a slow hash, which is for passwords that people choose, would only make each call slow. A token that
was drawn elsewhere has a floor of length instead.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum

PREFIX = "ept_"
"""What tokens begin with, so that people and scanners of secrets know one when they see it."""
MIN_CHARS, MAX_CHARS = 32, 512
"""Of any token; a longer text is not even hashed."""
SETTINGS_NAME = "api-token"
"""The application of the tokens that the setting API_TOKENS has: all scopes, all accounts, no end."""
MAX_ACCOUNTS = 1000
MIN_LIFE_S, MAX_LIFE_S = 3600, 730 * 86_400
_BYTES = 32


class Scope(StrEnum):
    """What a token may do for the accounts that it may act for."""

    READ = "read"
    """See accounts, their bets, money and limits."""
    BET = "bet"
    """Place, cancel and replace bets."""
    MONEY = "money"
    """Let money in and out."""
    OPERATE = "operate"
    """Register accounts, have confirmations mailed, choose mail, set limits and breaks, close accounts."""


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token lets its bearer do. The accounts are all, or those that the application registered and
    those that are named.
    """

    application: str
    token_id: str | None
    scopes: frozenset[Scope]
    all_accounts: bool
    account_ids: frozenset[str] = frozenset()
    expires_at_us: int | None = None


class InvalidToken(ValueError):
    """No token can be made like this. The message says what is allowed, and shows no secret."""


def draw_token() -> str:
    """A token that nobody has: 256 random bits as text."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def draw_token_id() -> str:
    """The public name of a token."""
    return secrets.token_hex(6)


def can_be_token(text: str) -> bool:
    """Whether the text has the form of a token: its length, and visible ASCII alone."""
    return MIN_CHARS <= len(text) <= MAX_CHARS and text.isascii() and text.isprintable() and " " not in text


def digest_of(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


def tokens_of_setting(text: str) -> list[str]:
    """The tokens in the setting API_TOKENS, which are separated by commas; `none` is none. Raises
    `InvalidToken` for one that is too short.
    """
    tokens = [one.strip() for one in text.split(",") if one.strip() not in ("", "none")]
    for number, token in enumerate(tokens, 1):
        if not can_be_token(token):
            what = "characters that are not visible ASCII" if len(token) >= MIN_CHARS else "too few"
            raise InvalidToken(
                f"api_tokens: token {number} of {len(tokens)} has {len(token)} characters, {what}: {MIN_CHARS} to {MAX_CHARS} visible ASCII"
                " characters are allowed; `exchange-platform tokens create` makes a token and keeps its hash alone"
            )
    return tokens


def read_scopes(text: str) -> frozenset[Scope]:
    """The scopes in what `write_scopes` wrote; a scope of a newer release is left out."""
    known = {scope.value for scope in Scope}
    return frozenset(Scope(one) for one in text.split() if one in known)


def write_scopes(scopes: frozenset[Scope]) -> str:
    """The scopes as text, always in the same order."""
    return " ".join(scope.value for scope in Scope if scope in scopes)
