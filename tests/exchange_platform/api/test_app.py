"""What holds for every route: errors are problem documents, headers are set, bodies are bounded, nothing
comes from elsewhere.
"""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from exchange_platform.api.app import create_app
from exchange_platform.api.http.headers import MAX_BODY_BYTES
from exchange_platform.api.serving import names_served
from exchange_platform.process.origins import allowed_names
from exchange_platform.settings import Settings
from tests.support.account_parts import AccountsApi


def test_health_says_that_the_database_answers(anybody: TestClient) -> None:
    assert anybody.get("/health").json() == {"healthy": True}


def test_health_says_for_a_minute_that_a_store_refused_the_password(accounts: AccountsApi) -> None:
    accounts.anybody.app.state.services.note_refusal()  # type: ignore[attr-defined]
    refused = accounts.anybody.get("/health")
    assert (refused.status_code, refused.json()["code"]) == (503, "credentials_refused")
    accounts.parts.clock.now += 60_000_000
    assert accounts.anybody.get("/health").status_code == 200


def test_an_unknown_path_is_a_problem_document(anybody: TestClient) -> None:
    answer = anybody.get("/nowhere")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"


def test_every_answer_carries_the_headers_that_keep_others_out(anybody: TestClient) -> None:
    for path in ("/health", "/nowhere", "/docs", "/openapi.json"):
        headers = anybody.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"


def test_a_body_that_is_too_long_is_refused_announced_or_not(anybody: TestClient) -> None:
    long = b"x" * (MAX_BODY_BYTES + 1)
    assert anybody.post("/health", content=long).status_code in (405, 413)
    assert anybody.post("/nowhere", content=long).status_code == 413
    assert anybody.post("/nowhere", headers={"content-length": "nonsense"}).status_code in (400, 413)


def test_a_method_that_a_path_does_not_know_is_told_all_that_it_knows(anybody: TestClient) -> None:
    answer = anybody.patch("/confirm")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, POST"


def test_a_body_that_can_t_be_read_is_an_invalid_request(application: TestClient) -> None:
    for kind, body in (
        ("application/json", b"\x18\x01\\\xff"),
        ("application/json", b"{"),
        ("application/json", b"\xef\xbb\xbf{}"),
        ("text/plain", b"{}"),
    ):
        answer = application.post("/accounts", content=body, headers={"content-type": kind})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    answer = application.post("/confirm", content=b"--", headers={"content-type": "multipart/form-data"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_nobody_is_redirected_to_the_host_that_a_request_names(anybody: TestClient) -> None:
    answer = anybody.get("/health/", headers={"Host": "elsewhere.example"}, follow_redirects=False)
    assert answer.status_code == 404


def test_a_page_whose_name_is_made_to_point_here_reads_nothing(settings: Settings) -> None:
    app = create_app(settings, hosts=allowed_names(None, "https://api.example/"))
    client = TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)
    for name in ("127.0.0.1:8000", "localhost:8000", "api.example", "API.example:443"):
        assert client.get("/nowhere", headers={"Host": name}).json()["code"] == "not_found"
    for name in ("evil.example:8000", "127.0.0.1.evil.example", "evil.example@localhost"):
        answer = client.get("/nowhere", headers={"Host": name})
        assert (answer.status_code, answer.json()["code"]) == (421, "unknown_host")
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_what_up_serves_answers_to_this_machines_names_and_a_network_to_those_that_are_set(
    settings: Settings,
) -> None:
    named = settings.model_copy(update={"allowed_hosts": "api.example"})
    assert names_served(settings, "127.0.0.1") == allowed_names()
    assert names_served(settings, "::1") == allowed_names()
    assert names_served(settings, "0.0.0.0") is None
    assert names_served(named, "0.0.0.0") == allowed_names("api.example")


def test_the_documentation_names_no_other_host_and_runs_no_inline_script(anybody: TestClient) -> None:
    page = anybody.get("/docs").text
    assert not re.search(r"https?://", page)
    assert not re.search(r"<script>", page)
    for asset in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert anybody.get(f"/{asset}").status_code == 200


@pytest.mark.parametrize(
    ("public_url", "expected"), [("https://api.exchange.example", "max-age=31536000"), (None, None)]
)
def test_browsers_are_to_use_nothing_but_tls_where_the_api_is_reached_by_it(
    api_settings: Settings, public_url: str | None, expected: str | None
) -> None:
    with TestClient(create_app(api_settings.model_copy(update={"public_url": public_url}))) as anybody:
        for path in ("/health", "/", "/nowhere"):
            assert anybody.get(path).headers.get("Strict-Transport-Security") == expected
