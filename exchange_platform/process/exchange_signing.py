"""Signatures between the platform and the exchange: whose answers settle bets shows with each of them that it
holds the shared key. Pure.

A request is signed over its method, its target, its time, a number used once, and its body; an answer over
the same request, its status and its body. So an answer fits one request alone, and neither can be changed or
used again (docs/exchange.md has the form). Sending requests lives in signed_http.py, answering them in
exchanges/gateway/signing.py.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

TIMESTAMP, NONCE, SIGNATURE = "exchange-timestamp", "exchange-nonce", "exchange-signature"
"""The headers, as HTTP libraries compare them: in lower case."""
MIN_KEY = 32
"""Characters of a key."""
WINDOW_S = 30.0
"""How old, or how far ahead, a request may be by the exchange's clock."""
_MAX_NONCE = 64


class Unsigned(ValueError):
    """A request is not signed as it should be; the message says why, and may be shown to whoever sent it."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What of a request its signature is made over."""

    method: str
    target: str
    """Path and query, byte for byte as they are sent."""
    timestamp_ms: int
    nonce: str
    body_sha256: str

    def text(self) -> str:
        """The request in one text."""
        return f"{self.method}\n{self.target}\n{self.timestamp_ms}\n{self.nonce}\n{self.body_sha256}"


def keys_of(text: str) -> tuple[str, ...]:
    """The keys in a setting, separated by commas: the first signs, each is believed, so that one can be
    replaced. Raises `ValueError`.
    """
    keys = tuple(key.strip() for key in text.split(",") if key.strip())
    if not keys or any(len(key) < MIN_KEY for key in keys):
        raise ValueError(f"each key has {MIN_KEY} characters at least (keys are separated by commas)")
    return keys


def sha256(body: bytes) -> str:
    """The hash of a body, in hexadecimal digits."""
    return hashlib.sha256(body).hexdigest()


def sign_request(key: str, request: SignedRequest) -> str:
    """The value of a request's header `Exchange-Signature`."""
    return _signed(key, f"exchange-request-v1\n{request.text()}")


def sign_answer(key: str, request: SignedRequest, status: int, body_sha256: str) -> str:
    """The value of an answer's header `Exchange-Signature`."""
    return _signed(key, f"exchange-answer-v1\n{request.text()}\n{status}\n{body_sha256}")


def is_answer(
    keys: tuple[str, ...], request: SignedRequest, status: int, body_sha256: str, shown: str
) -> bool:
    """Whether the signature shown is that of this answer to this request, by any of the keys."""
    return _equals_any(shown, [sign_answer(key, request, status, body_sha256) for key in keys])


class RequestCheck:
    """Believes each request once: of those that it believed lately it knows the numbers. For one thread at a
    time.
    """

    def __init__(self, keys: tuple[str, ...], now_ms: Callable[[], int]) -> None:
        self._keys = keys
        self._now_ms = now_ms
        self._since_ms = now_ms()
        """What was signed before may have been taken by the process before this one, whose numbers nobody
        knows any more.
        """
        self._used: dict[str, int] = {}
        """Each number used, the oldest first, and when it may be forgotten: its request is too old by then.
        """

    def check(self, headers: dict[str, str], method: str, target: str, body: bytes) -> SignedRequest:
        """The request, if it is signed. Raises `Unsigned`."""
        stated, nonce, shown = (headers.get(name, "") for name in (TIMESTAMP, NONCE, SIGNATURE))
        if not (stated.isascii() and stated.isdigit() and len(stated) < 16 and 0 < len(nonce) <= _MAX_NONCE):
            raise Unsigned(f"a request has the headers {TIMESTAMP}, {NONCE} and {SIGNATURE}")
        request = SignedRequest(method, target, int(stated), nonce, sha256(body))
        if not _equals_any(shown, [sign_request(key, request) for key in self._keys]):
            raise Unsigned("the request's signature is not by this exchange's key")
        now_ms = self._now_ms()
        if abs(now_ms - request.timestamp_ms) > WINDOW_S * 1000:
            raise Unsigned(f"the request is more than {WINDOW_S:g} s old or ahead, by this exchange's clock")
        if request.timestamp_ms < self._since_ms:
            raise Unsigned("the request was signed before this exchange's gateway began; sign it again")
        self._forget(now_ms)
        if nonce in self._used:
            raise Unsigned("the request was sent before")
        self._used[nonce] = now_ms + int(2 * WINDOW_S * 1000)
        return request

    def _forget(self, now_ms: int) -> None:
        while self._used:
            nonce = next(iter(self._used))
            if self._used[nonce] >= now_ms:
                return
            del self._used[nonce]


def _signed(key: str, text: str) -> str:
    digest = hmac.digest(key.encode(), text.encode("utf-8", "surrogateescape"), hashlib.sha256)
    return f"v1={digest.hex()}"


def _equals_any(shown: str, signatures: list[str]) -> bool:
    """Takes as long whichever it equals."""
    found = [
        hmac.compare_digest(shown.encode("utf-8", "replace"), signature.encode()) for signature in signatures
    ]
    return any(found)
