"""Logging in at Betfair: with a certificate, without, refused, unreachable; secrets stay secret. Against a
local TLS server.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from exchange_platform.exchanges.betfair.connection import ConnectionEnded
from exchange_platform.exchanges.betfair.live import NotAllowed
from exchange_platform.exchanges.betfair.login import AccountLogin, BetfairAccount, GivenToken
from tests.support.certificates import Certificate

SECRETS = ("an-app-key", "ann", "correct horse", "token-1")


class Identity:
    """Betfair's place to log in, on this machine."""

    def __init__(self, certificate: Certificate) -> None:
        self.asked: list[tuple[str, dict[str, list[str]], str | None, bool]] = []
        self.answers: list[dict[str, Any]] = []
        identity = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                assert isinstance(self.connection, ssl.SSLSocket)
                shown = self.connection.getpeercert(binary_form=True) is not None
                identity.asked.append((self.path, parse_qs(body), self.headers["X-Application"], shown))
                content = json.dumps(identity.answers.pop(0)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        context = certificate.server_context
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(certificate.file)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_port}/api"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate(tmp_path)


@pytest.fixture
def identity(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> Iterator[Identity]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.file))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    identity = Identity(certificate)
    yield identity
    identity.close()


def login(identity: Identity, certificate: Certificate | None = None) -> AccountLogin:
    return AccountLogin(
        BetfairAccount(
            app_key=SecretStr("an-app-key"),
            username=SecretStr("ann"),
            password=SecretStr("correct horse"),
            certificate=certificate.file if certificate else None,
            certificate_key=certificate.key_file if certificate else None,
            identity_url=identity.url,
        )
    )


def test_with_a_certificate_it_is_shown(identity: Identity, certificate: Certificate) -> None:
    identity.answers = [{"loginStatus": "SUCCESS", "sessionToken": "token-1"}]
    account = login(identity, certificate)
    assert account.token(fresh=False) == account.token(fresh=False) == "token-1"
    ((path, form, key, shown),) = identity.asked
    assert (path, key, shown) == ("/api/certlogin", "an-app-key", True)
    assert form == {"username": ["ann"], "password": ["correct horse"]}


def test_without_one_name_and_password_do(identity: Identity) -> None:
    identity.answers = [
        {"status": "SUCCESS", "token": "token-1"},
        {"status": "SUCCESS", "token": "token-2"},
    ]
    account = login(identity)
    assert [account.token(fresh=False), account.token(fresh=True), account.token(fresh=False)] == [
        "token-1",
        "token-2",
        "token-2",
    ]
    assert {(path, shown) for path, _, _, shown in identity.asked} == {("/api/login", False)}


def test_an_account_that_is_refused_is_not_asked_for_again(
    identity: Identity, certificate: Certificate
) -> None:
    identity.answers = [{"loginStatus": "INVALID_USERNAME_OR_PASSWORD"}]
    with pytest.raises(NotAllowed, match="INVALID_USERNAME_OR_PASSWORD"):
        login(identity, certificate).token(fresh=False)


@pytest.mark.parametrize(
    "answer", [{"loginStatus": "TEMPORARY_BAN_TOO_MANY_REQUESTS"}, {"loginStatus": "SUCCESS"}, {}]
)
def test_what_may_pass_is_tried_again(
    identity: Identity, certificate: Certificate, answer: dict[str, str]
) -> None:
    identity.answers = [answer]
    with pytest.raises(ConnectionEnded, match="logging in: "):
        login(identity, certificate).token(fresh=False)


def test_where_nobody_answers_it_is_tried_again(identity: Identity, certificate: Certificate) -> None:
    account = login(identity, certificate)
    identity.close()
    with pytest.raises(ConnectionEnded, match="logging in: APIError") as caught:
        account.token(fresh=False)
    assert not any(secret in str(caught.value) for secret in SECRETS)


def test_secrets_are_shown_nowhere(
    identity: Identity, certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    identity.answers = [{"loginStatus": "SUCCESS", "sessionToken": "token-1"}]
    account = login(identity, certificate)
    account.token(fresh=False)
    shown = f"{caplog.text} {account._account!r} {account!r}"
    assert not any(secret in shown for secret in SECRETS)


def test_a_given_token_that_is_over_says_what_to_do() -> None:
    given = GivenToken(SecretStr("token-1"))
    assert given.token(fresh=False) == "token-1"
    with pytest.raises(NotAllowed, match="EXCHANGE_PLATFORM_BETFAIR_SESSION_TOKEN") as caught:
        given.token(fresh=True)
    assert "token-1" not in str(caught.value)
