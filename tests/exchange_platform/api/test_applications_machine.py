"""Two applications of different scopes and accounts, in any order of calls, while their tokens are made,
revoked and expire.

What a token may not do is refused and changes nothing; what it may do changes nothing of an account that it
may not act for.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from exchange_platform.api.app import create_app
from exchange_platform.api.http.known_tokens import MAX_AGE_S
from exchange_platform.domain.api_tokens import Scope
from exchange_platform.local.emulator.server import provision
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.accounts.api_tokens import ApiTokens
from exchange_platform.stores.operational.database import Database, metadata
from exchange_platform.stores.operational.tables.security import api_tokens, security_events
from tests.exchange_platform.api.access.test_applications import ACCOUNT, CALLS
from tests.exchange_platform.betting import add_account, add_event, add_market, order
from tests.support.account_parts import StandingClock
from tests.support.prepared import prepare_database
from tests.support.token_parts import OPERATOR, bearer, make_token

ENDLESS = ("GET", f"{ACCOUNT}/changes")
calls = st.sampled_from([call for call in CALLS if call not in (ENDLESS, ("POST", "/accounts"))])
accounts = st.sampled_from(["a1", "a2"])
scopes = st.sets(st.sampled_from(sorted(Scope)), min_size=1)
names = st.sampled_from(["one", "two"])
APART = (security_events, api_tokens)
LATER = ("published_at_us",)


class ApplicationsMachine(RuleBasedStateMachine):
    """One API for all runs; tokens of its own in each. The class attributes are what stands when a run
    begins.
    """

    api: ClassVar[TestClient]
    database: ClassVar[Database]
    clock: ClassVar[StandingClock]
    bets: ClassVar[dict[str, str]]
    asked: ClassVar[int] = 0
    done: ClassVar[set[int]] = set()

    def __init__(self) -> None:
        super().__init__()
        self.token: dict[str, tuple[str, set[Scope], str] | None] = {"one": None, "two": None}
        self.revoked: list[str] = []

    @rule(name=names, may=scopes)
    def make(self, name: str, may: set[Scope]) -> None:
        """An application has another token: `one` for the account a1, `two` for a2."""
        own = {"one": "a1", "two": "a2"}[name]
        made = make_token(self.database, name, may, accounts=[own], now_us=self.clock.now)
        self.token[name] = (made, may, own)
        self._pass()

    @rule(name=names)
    def revoke(self, name: str) -> None:
        """All that it has are revoked."""
        held = self.token[name]
        if held is not None:
            ApiTokens(self.database).revoke(name, [], OPERATOR, self.clock.now)
            self.revoked.append(held[0])
            self.token[name] = None
            self._pass()

    @rule()
    def expire(self) -> None:
        """A day goes by: every token is at its end."""
        self.clock.now += 86_400 * 1_000_000
        self.revoked += [held[0] for held in self.token.values() if held is not None]
        self.token = dict.fromkeys(self.token)
        self._pass()

    @rule(name=names, call=calls, account=accounts)
    def ask(self, name: str, call: tuple[str, str], account: str) -> None:
        """An application calls, for its account or the other's."""
        held = self.token[name]
        if held is None:
            return
        token, may, own = held
        before = self._rows()
        answer = self._call(token, call, account)
        scope, _ = CALLS[call]
        code = answer.json().get("code")
        after = self._rows()
        if scope not in may:
            assert (answer.status_code, code) == (403, "missing_scope")
            assert after == before
        elif account != own:
            assert answer.status_code == 404, (call, answer.text)
            assert f"{account}@example.org" not in answer.text
            assert after == before
        else:
            assert answer.status_code not in (401, 404, 500), (call, answer.text)
            assert code != "missing_scope"
            other = "a2" if own == "a1" else "a1"
            assert [one for one in after if other in one[1]] == [one for one in before if other in one[1]]
        self.done.add(answer.status_code)

    @rule(data=st.data(), call=calls, account=accounts)
    def ask_with_what_is_no_longer_good(
        self, data: st.DataObject, call: tuple[str, str], account: str
    ) -> None:
        """A token that was revoked or has expired is shown."""
        if self.revoked:
            before = self._rows()
            answer = self._call(data.draw(st.sampled_from(self.revoked)), call, account)
            assert answer.status_code == 401
            assert self._rows() == before

    def _call(self, token: str, call: tuple[str, str], account: str) -> Any:
        method, path = call
        _, body = CALLS[call]
        if isinstance(body, dict) and "account_id" in body:
            body = body | {"account_id": account}
        type(self).asked += 1
        return self.api.request(
            method,
            path.format(account_id=account, bet_id=self.bets[account], kind="stake"),
            json=body,
            headers=bearer(token) | {"Idempotency-Key": f"k{self.asked}"},
        )

    def _rows(self) -> list[tuple[str, tuple[Any, ...]]]:
        with self.database.read() as connection:
            return [
                (table.name, tuple(row))
                for table in metadata.sorted_tables
                if table not in APART
                for row in connection.execute(sa.select(*(one for one in table.c if one.name not in LATER)))
            ]

    def _pass(self) -> None:
        self.clock.now += int(MAX_AGE_S * 1e6)


@pytest.mark.parametrize("runs", [8, pytest.param(150, marks=pytest.mark.faults)])
def test_neither_application_reads_or_moves_what_is_the_others(settings: Settings, runs: int) -> None:
    directory = Path(tempfile.mkdtemp(prefix="applications-"))
    own = settings.model_copy(update={"data_dir": directory})
    database = Database(own.operational_database_url)
    prepare_database(database)
    provision(own)
    add_event(database)
    add_market(database)
    clock = StandingClock()
    app = create_app(own, clock=clock)
    try:
        with TestClient(app, raise_server_exceptions=False) as api:

            class Machine(ApplicationsMachine):
                pass

            Machine.api, Machine.database, Machine.clock = api, database, clock
            Machine.bets, Machine.done = {}, set()
            for account in ("a1", "a2"):
                add_account(database, account, funds_minor=10_000_000)
                placed = app.state.services.submission.submit(order(account_id=account))
                Machine.bets[account] = placed.bet.bet_id
            run_state_machine_as_test(
                Machine,
                settings=hypothesis_settings(
                    max_examples=runs,
                    stateful_step_count=25,
                    suppress_health_check=list(HealthCheck),
                ),
            )
            assert {200, 403, 404} <= Machine.done
    finally:
        database.dispose()
        shutil.rmtree(directory)
