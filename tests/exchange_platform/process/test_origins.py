"""A page of another site reaches nothing, by whatever kind of request; this server's own pages and programs
that are no browser do.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.process.origins import LOOPBACK_NAMES, Asked, allowed_names, refusal

HERE = "127.0.0.1:3000"


def asked(method: str = "GET", host: str = HERE, **headers: str) -> Asked:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Asked.of(method, [("host", host), *given.items()])


ALLOWED = {
    "curl": asked("POST"),
    "an address that was typed": asked(
        sec_fetch_site="none", sec_fetch_mode="navigate", sec_fetch_dest="document"
    ),
    "the page's own request": asked("POST", origin=f"http://{HERE}", sec_fetch_site="same-origin"),
    "the page's own websocket": asked(origin=f"http://{HERE}"),
    "by another of this machine's names": asked(
        "POST", host="localhost:3000", origin="http://localhost:3000"
    ),
    "by IPv6": asked("POST", host="[::1]:3000", origin="http://[::1]:3000"),
    "in capitals": asked("POST", host="LOCALHOST:3000", origin="http://localhost:3000"),
    "a link on another site's page": asked(
        sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="document"
    ),
    "behind TLS that ends before it": asked("POST", host="127.0.0.1", origin="https://127.0.0.1:443"),
}
REFUSED = {
    "a foreign Origin": asked("POST", origin="https://evil.example"),
    "a foreign Origin by GET": asked(origin="https://evil.example"),
    "another port of this machine": asked("POST", origin="http://127.0.0.1:8000"),
    "a name that is made to point here": asked(host="evil.example:3000"),
    "such a name, its own Origin": asked("POST", host="evil.example:3000", origin="http://evil.example:3000"),
    "an allowed name as a part of another": asked(host="localhost.evil.example"),
    "an allowed name as a user": asked(host="localhost@evil.example"),
    "an allowed name as a user of the Origin": asked("POST", origin=f"http://{HERE}@evil.example"),
    "no Origin that may be named": asked("POST", origin="null"),
    "two Origins": Asked.of(
        "POST", [("host", HERE), ("origin", f"http://{HERE}"), ("origin", "https://evil.example")]
    ),
    "two Hosts": Asked.of("GET", [("host", HERE), ("host", HERE)]),
    "no Host": Asked.of("GET", []),
    "an image": asked(sec_fetch_site="cross-site", sec_fetch_mode="no-cors", sec_fetch_dest="image"),
    "an image of another port here": asked(
        sec_fetch_site="same-site", sec_fetch_mode="no-cors", sec_fetch_dest="image"
    ),
    "a frame": asked(sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="iframe"),
    "a form": asked(
        "POST", sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="document"
    ),
    "an Origin that is no URL": asked("POST", origin="http://[::1"),
    "another scheme": asked("POST", origin=f"file://{HERE}"),
}


@pytest.mark.parametrize("request_", ALLOWED.values(), ids=ALLOWED)
def test_who_belongs_here_is_let_in(request_: Asked) -> None:
    assert refusal(request_, LOOPBACK_NAMES) is None


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
def test_another_site_is_kept_out(request_: Asked) -> None:
    assert refusal(request_, LOOPBACK_NAMES) is not None


@given(st.text(max_size=30), st.text(max_size=30))
def test_whatever_the_headers_hold_is_answered_and_no_foreign_host_is_let_in(host: str, origin: str) -> None:
    refused = refusal(Asked("POST", (host,), origin), LOOPBACK_NAMES)
    if refused is None:
        assert any(host.lower().startswith(name) for name in LOOPBACK_NAMES)


def test_other_names_are_allowed_by_the_setting_and_by_the_public_address() -> None:
    allowed = allowed_names("ui.example, [2001:db8::1]", "https://api.example:8443/", None)
    assert allowed - LOOPBACK_NAMES == {"ui.example", "[2001:db8::1]", "api.example"}
    assert refusal(asked("POST", host="UI.example.", origin="https://ui.example"), allowed) is None
    assert refusal(asked(host="[2001:db8::1]:443"), allowed) is None
    assert refusal(asked(host="evil.example"), allowed) is not None
    assert refusal(asked(host="evil.example"), None) is None
