"""HTTP calls to an exchange that signs its answers: one that is not signed by the shared key is no answer.
The signatures live in exchange_signing.py.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from exchange_platform.process.bounded_http import BoundedTransport
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.process.database_tls import is_this_machine
from exchange_platform.process.exchange_signing import (
    NONCE,
    SIGNATURE,
    TIMESTAMP,
    SignedRequest,
    is_answer,
    sha256,
    sign_request,
)
from exchange_platform.process.lean_httpx import httpx


class AnswerUnsigned(httpx.TransportError):
    """The answer does not show that whoever gave it holds the shared key. Nothing of it is believed, its
    status neither.
    """


@dataclass(frozen=True, slots=True)
class ExchangeAccess:
    """Where the exchange answers, and the keys by which its answers are believed: the first signs requests.
    Without keys nothing is signed.
    """

    url: str
    keys: tuple[str, ...] = ()

    @property
    def why_not_believed(self) -> str | None:
        """Why whatever answers there can't be believed; None if it can. Its answers settle bets, so an
        exchange elsewhere signs them.
        """
        host = httpx.URL(self.url).host
        if self.keys or is_this_machine(host):
            return None
        return (
            f"the exchange at {host} is not believed without signatures: EXCHANGE_KEY is the key that it and the platform share"
            " (docs/exchange.md)"
        )

    def client(self, *, max_s: float, headers: dict[str, str] | None = None) -> httpx.Client:
        """A client whose answers are bounded, and signed where there are keys."""
        inner = BoundedTransport(
            max_s=max_s,
            verify=self.url.startswith("https:"),  # certificates take a while to load
        )
        return httpx.Client(
            base_url=self.url.rstrip("/"),
            headers={"Accept-Encoding": "identity", **(headers or {})},
            timeout=max_s,
            trust_env=False,
            transport=SignedTransport(inner, self.keys) if self.keys else inner,
        )


class SignedTransport(httpx.BaseTransport):
    """Signs each request, and lets no answer's body end that is not signed. Raises `AnswerUnsigned`, and what
    the transport below raises.
    """

    def __init__(
        self,
        below: httpx.BaseTransport,
        keys: tuple[str, ...],
        *,
        now_ms: Callable[[], int] = lambda: SYSTEM_CLOCK.now_us() // 1000,
        new_nonce: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._below = below
        self._keys = keys
        self._now_ms = now_ms
        self._new_nonce = new_nonce

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; reading the answer's body to its end raises where the signature does not fit."""
        signed = SignedRequest(
            request.method,
            request.url.raw_path.decode("ascii"),
            self._now_ms(),
            self._new_nonce(),
            sha256(request.read()),
        )
        request.headers[TIMESTAMP] = str(signed.timestamp_ms)
        request.headers[NONCE] = signed.nonce
        request.headers[SIGNATURE] = sign_request(self._keys[0], signed)
        response = self._below.handle_request(request)
        shown = response.headers.get(SIGNATURE)
        if shown is None:
            response.close()
            raise AnswerUnsigned(
                f"the answer (status {response.status_code}) is not signed, so it is not believed (EXCHANGE_KEY)"
            )
        assert isinstance(response.stream, httpx.SyncByteStream)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_Signed(response.stream, self._keys, signed, response.status_code, shown),
            extensions=response.extensions,
        )

    def close(self) -> None:
        """Close the connections."""
        self._below.close()


class _Signed(httpx.SyncByteStream):
    """An answer's body, which ends only if its signature fits."""

    def __init__(
        self,
        stream: httpx.SyncByteStream,
        keys: tuple[str, ...],
        request: SignedRequest,
        status: int,
        shown: str,
    ) -> None:
        self._stream = stream
        self._keys = keys
        self._request = request
        self._status = status
        self._shown = shown

    def __iter__(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for chunk in self._stream:
            digest.update(chunk)
            yield chunk
        if not is_answer(self._keys, self._request, self._status, digest.hexdigest(), self._shown):
            raise AnswerUnsigned(
                f"the answer (status {self._status}) is not signed by the shared key for this request,"
                " so it is not believed (EXCHANGE_KEY)"
            )

    def close(self) -> None:
        self._stream.close()
