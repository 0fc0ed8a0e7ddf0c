"""Attacks on confirmations and accounts: nothing gets in, nobody learns who has an account, nothing is
written into mails or pages.
"""

from __future__ import annotations

import email
import email.policy
import random
import string
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import markupsafe
import pytest
import sqlalchemy as sa

from exchange_platform.api.serving import Server
from exchange_platform.confirmation.service import Pressed
from exchange_platform.domain.accounts import AccountState
from exchange_platform.mail.message import OutgoingMail, compose
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database
from tests.exchange_platform.api.conftest import serving_accounts
from tests.support.account_parts import CLIENT, HOUR, MINUTE, AccountsApi
from tests.support.platform_parts import wait_for

ALPHABET = string.ascii_letters + string.digits + "-_"


@pytest.fixture
def accounts(settings: Settings) -> Iterator[AccountsApi]:
    """Without limits on presses: each attack may try as often as it likes."""
    with serving_accounts(settings, limit_confirmations_client="2000/second") as made:
        yield made


def _state(accounts: AccountsApi, account_id: str) -> object:
    return accounts.read(account_id)["state"]


def test_a_guessed_code_confirms_nothing_however_near_it_is(accounts: AccountsApi) -> None:
    account_id = accounts.register()
    (code,) = accounts.parts.codes()
    token = code.partition(".")[2]
    chance = random.Random(3)
    # The last character has two bits that say nothing, but it is the text that is hashed: it counts as any
    # other.
    near = [
        token[:place] + chance.choice(ALPHABET.replace(token[place], "")) + token[place + 1 :]
        for place in range(43)
    ]
    wild = ["".join(chance.choices(ALPHABET, k=43)) for _ in range(30)]
    shaped = [
        token[:-1],
        token + "A",
        token.swapcase(),
        token[::-1],
        token.replace(token[0], token[0] + "\0"),
        "",
    ]
    codes = [f"{account_id}.{guess}" for guess in (*near, *wild, *shaped)]
    other = accounts.register("bob@example.com")
    codes += [f"{other}.{token}", f"{account_id.upper()}.{token}", f"{account_id}{token}", token, f".{token}"]
    codes += [f"{account_id}.{token}.{token}", f"{account_id}.{token}'--", f"{account_id}. OR contains(x)"]
    answers = {
        (answer.status_code, answer.text)
        for answer in map(accounts.press, codes)
        if answer.status_code != 422
    }
    assert len(answers) == 1
    assert {status for status, _ in answers} == {410}
    assert _state(accounts, account_id) == _state(accounts, other) == "PENDING"
    assert accounts.press(code).status_code == 200


def test_a_used_code_is_worth_nothing_whatever_becomes_of_the_account(accounts: AccountsApi) -> None:
    account_id = accounts.register()
    (code,) = accounts.parts.codes()
    assert accounts.press(code).status_code == 200
    confirmed = accounts.read(account_id)
    assert accounts.press(code).status_code == 410
    assert accounts.read(account_id) == confirmed
    accounts.application.post(f"/accounts/{account_id}/close")
    assert accounts.press(code).status_code == 410
    assert _state(accounts, account_id) == "CLOSED"


def test_an_expired_code_is_worth_nothing_at_once_and_later(accounts: AccountsApi) -> None:
    account_id = accounts.register()
    (code,) = accounts.parts.codes()
    for pause_us in (24 * HOUR, HOUR, 1000 * HOUR):
        accounts.parts.clock.now += pause_us
        assert accounts.press(code).status_code == 410
    assert _state(accounts, account_id) == "PENDING"


def test_a_scanner_that_opens_links_confirms_nothing(accounts: AccountsApi) -> None:
    account_id = accounts.register()
    (code,) = accounts.parts.codes()
    for how in ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"):
        for path in (f"/confirm?code={code}", f"/confirm/{code}", f"/confirm#{code}", f"/confirm?{code}"):
            accounts.anybody.request(how, path, data={"code": code})
    assert _state(accounts, account_id) == "PENDING"
    assert accounts.press(code).status_code == 200


def test_a_code_in_an_address_or_of_another_content_type_confirms_nothing(accounts: AccountsApi) -> None:
    account_id = accounts.register()
    (code,) = accounts.parts.codes()
    assert accounts.anybody.post(f"/confirm?code={code}").status_code == 422
    assert accounts.anybody.post("/confirm", json={"code": code}).status_code == 422
    assert accounts.anybody.post("/confirm", content=code).status_code == 422
    assert _state(accounts, account_id) == "PENDING"


@contextmanager
def _served(settings: Settings) -> Iterator[str]:
    """The API on a socket, as `up` serves it; its address."""
    server = Server(settings, host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_of_posts_that_race_over_real_connections_exactly_one_confirms(settings: Settings) -> None:
    with serving_accounts(settings) as accounts, _served(accounts.parts.settings) as url:
        for round_ in range(3):
            account_id = accounts.register(f"ann{round_}@example.com")
            accounts.parts.clock.now = (
                2 * 10**15
            )  # the served API is on the system's clock: what expires then is later
            (code,) = accounts.parts.codes()
            statuses: list[int] = []
            together = threading.Barrier(4)

            def press(
                code: str = code, statuses: list[int] = statuses, together: threading.Barrier = together
            ) -> None:
                with httpx.Client(trust_env=False) as client:
                    together.wait()
                    statuses.append(
                        client.post(f"{url}/confirm", data={"code": code}, timeout=30).status_code
                    )

            threads = [threading.Thread(target=press) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(statuses) == [200, 410, 410, 410]
            assert accounts.parts.account(account_id).state is AccountState.CONFIRMED


HOSTILE_NAMES = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }}{% for x in ().__class__ %}",
    "Ann <evil@example.com>",
    'Ann" <evil@example.com>, "Bob',
    "=?utf-8?q?Bcc:_evil=40example.com?=",
    "%0d%0aBcc: evil@example.com",
    "Visit http://evil.example now",
    "'; DROP TABLE accounts; --",
    "${jndi:ldap://evil.example/a}",
]


def test_a_hostile_name_gets_into_no_header_and_no_mail(accounts: AccountsApi) -> None:
    for number, name in enumerate(HOSTILE_NAMES):
        address = f"ann{number}@example.com"
        accounts.register(address, name)
        (mail,) = accounts.parts.mail()
        assert isinstance(mail, OutgoingMail)
        raw = compose(mail, "Exchange <mail@exchange.example>").as_bytes()
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert message["To"] == address
        assert not {"bcc", "cc", "reply-to"} & {header.lower() for header in message.keys()}  # noqa: SIM118
        assert b"evil" not in raw
        assert b"alert" not in raw
        assert "49" not in mail.text[: mail.text.index("http")]


ENDINGS = [
    "\r\nBcc: evil@example.com",
    "\nBcc: evil@example.com",
    "\r",
    "%0aBcc:x",
    "\u2028Bcc: x",
    "\x85B",
]


def test_an_address_that_would_be_a_header_is_refused(accounts: AccountsApi) -> None:
    for address in (
        address for end in ENDINGS for address in (f"ann@example.com{end}", f"ann{end}@example.com")
    ):
        answer = accounts.application.post("/accounts", json={"email": address, "display_name": "Ann"})
        assert answer.status_code == 422 or "%" in address
    for mail in accounts.parts.mail():
        assert isinstance(mail, OutgoingMail)
        message = compose(mail, "Exchange <mail@exchange.example>")
        assert message["Bcc"] is None
        assert len(message.get_all("To", [])) == 1


def test_what_is_typed_into_a_page_comes_back_as_text_or_not_at_all(settings: Settings) -> None:
    with serving_accounts(settings, limit_confirmations_client="1/day") as accounts:
        accounts.press("the one that is allowed")
        for code in ('"><script>alert(1)</script>', "' onfocus=alert(1) x='", "{{7*7}}", "</title><b>"):
            answer = accounts.press(code)
            assert answer.status_code == 429
            assert f'value="{markupsafe.escape(code)}"' in answer.text
            assert "<script>" not in answer.text
            assert 'value="49"' not in answer.text


def test_no_page_sends_anybody_elsewhere(accounts: AccountsApi) -> None:
    account_id = accounts.register()
    token = accounts.anybody.app.state.services.preference_links.token(account_id)  # type: ignore[attr-defined]
    evil = "https://evil.example/"
    named = dict.fromkeys(("next", "url", "redirect", "return", "return_to", "continue"), evil)
    for method, path in (
        ("GET", "/confirm"),
        ("POST", "/confirm"),
        ("GET", f"/unsubscribe?token={token}"),
        ("POST", f"/unsubscribe?token={token}"),
        ("GET", "/confirm/"),
        ("GET", "//evil.example/confirm"),
        ("GET", "/static//evil.example"),
        ("GET", "/\\evil.example"),
    ):
        answer = accounts.anybody.request(
            method,
            path + ("&" if "?" in path else "?") + str(httpx.QueryParams(named)),
            headers={"Host": "evil.example", "Referer": evil, "X-Forwarded-Host": "evil.example"},
            follow_redirects=False,
        )
        assert not 300 <= answer.status_code < 400
        assert "location" not in answer.headers
        assert "evil" not in answer.text


def test_a_preference_link_opens_no_other_account(accounts: AccountsApi) -> None:
    mine, other = accounts.register("ann@example.com"), accounts.register("bob@example.com")
    token = accounts.anybody.app.state.services.preference_links.token(mine)  # type: ignore[attr-defined]
    for forged in (token.replace(mine, other), f"{other}.{token}", f"{token}.{other}", f"{other}\0{token}"):
        answer = accounts.anybody.post("/unsubscribe", params={"token": forged}, data={"choice": "none"})
        assert answer.status_code == 404
    assert accounts.read(other)["mail_choice"] == "all"


@contextmanager
def _work_of(accounts: AccountsApi) -> Iterator[list[str]]:
    """What is asked of the stores meanwhile: statements, and calls of DynamoDB."""
    work: list[str] = []
    services = accounts.anybody.app.state.services  # type: ignore[attr-defined]
    database: Database = services.database

    def statement(_c: object, _cu: object, text: str, *_rest: object) -> None:
        work.append(text)

    def call(model: object, **_more: object) -> None:
        work.append(str(getattr(model, "name", "")))

    sa.event.listen(database.engine, "before_cursor_execute", statement)
    services._dynamodb.meta.events.register("before-call.dynamodb", call)
    yield work
    sa.event.remove(database.engine, "before_cursor_execute", statement)
    services._dynamodb.meta.events.unregister("before-call.dynamodb", call)


def test_a_registration_asks_the_stores_the_same_whether_the_address_is_known_or_not(
    accounts: AccountsApi,
) -> None:
    """Not the time is compared, which would prove little, but the work: the same statements in the same
    order.
    """
    accounts.register("known@example.com")
    accounts.press(accounts.parts.codes()[0])
    pending = accounts.register("pending@example.com")
    accounts.parts.codes()
    accounts.parts.clock.now += MINUTE
    works, answers = [], []
    for address in ("known@example.com", "unknown@example.com", "KNOWN@example.com", "pending@example.com"):
        with _work_of(accounts) as work:
            answer = accounts.application.post("/accounts", json={"email": address, "display_name": "Ann"})
        works.append(work)
        answers.append((answer.status_code, set(answer.json()), answer.json()["state"], len(answer.content)))
    assert len(works[0]) > 3
    assert all(work == works[0] for work in works)
    assert all(answer == answers[0] for answer in answers)
    assert _state(accounts, pending) == "PENDING"


def test_asking_again_and_pressing_work_the_same_whoever_has_the_address(accounts: AccountsApi) -> None:
    accounts.register("known@example.com")
    accounts.press(accounts.parts.codes()[0])
    second, fresh = accounts.register("known@example.com"), accounts.register("fresh@example.com")
    accounts.parts.mail()
    accounts.parts.clock.now += MINUTE
    works = []
    for account_id in (second, fresh):
        with _work_of(accounts) as work:
            answer = accounts.application.post(f"/accounts/{account_id}/confirmation")
        assert (answer.status_code, answer.json()["state"]) == (202, "PENDING")
        works.append(work)
    assert works[0] == works[1]
    pressed = []
    for account_id in (second, fresh, "f" * 32):
        with _work_of(accounts) as work:
            answer = accounts.press(f"{account_id}.{'A' * 43}")
        pressed.append((work, answer.status_code, answer.text))
    assert pressed[0] == pressed[1] == pressed[2]


def test_what_others_did_to_an_address_shows_in_no_limit(settings: Settings) -> None:
    limits = {"limit_registrations_client_address": "3/day", "trusted_proxies": 1}
    with serving_accounts(settings, **limits) as accounts:  # type: ignore[arg-type]

        def statuses(address: str, client: str) -> list[int]:
            body = {"email": address, "display_name": "Ann"}
            headers = {"X-Forwarded-For": client}
            return [
                accounts.application.post("/accounts", json=body, headers=headers).status_code
                for _ in range(4)
            ]

        for number in range(6):  # more than the address may be mailed
            statuses("victim@example.com", f"198.51.100.{number}")
        assert statuses("victim@example.com", "192.0.2.7") == statuses("nobody@example.com", "192.0.2.7")


def test_an_application_s_token_is_needed_however_it_is_written(accounts: AccountsApi) -> None:
    account_id = accounts.register()
    right = accounts.application.headers["authorization"].partition(" ")[2]
    tries = [
        f"Bearer {right[:-1]}",
        f"Bearer {right}x",
        f"Basic {right}",
        right,
        "Bearer",
        "Bearer null",
        f"Bearer {right},{right}",
    ]
    for header in tries:
        answer = accounts.anybody.get(f"/accounts/{account_id}", headers={"Authorization": header})
        assert answer.status_code == 401
    assert accounts.anybody.get(f"/accounts/{account_id}?access_token={right}").status_code == 401


def test_the_service_itself_tells_no_more(accounts: AccountsApi) -> None:
    accounts.register()
    guesses: list[Callable[[], Pressed]] = [
        lambda: accounts.parts.service.confirm("", CLIENT),
        lambda: accounts.parts.service.confirm("x" * 100_000, CLIENT),
        lambda: accounts.parts.service.confirm("0" * 32 + "." + "A" * 43, CLIENT),
    ]
    assert {guess() for guess in guesses} == {Pressed.UNKNOWN}
