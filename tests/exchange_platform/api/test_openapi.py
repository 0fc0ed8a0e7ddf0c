"""The whole API against its own OpenAPI document: nothing that it describes, and nothing it does not, is
answered with a 5xx.

Every route is covered without being named here, but those whose answer never ends (text/event-stream).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
import schemathesis
import sqlalchemy as sa
from fastapi import FastAPI
from pydantic import SecretStr
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.filters import HasAPIOperation

from exchange_platform.api.app import create_app
from exchange_platform.local.emulator.server import provision
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database, metadata
from exchange_platform.stores.operational.tables.security import security_events
from exchange_platform.submission import BetSubmission
from tests.exchange_platform.betting import add_account, add_event, add_market, order
from tests.support.prepared import prepare
from tests.support.token_parts import make_token

TOKEN = "a-token-of-an-application-000000"
# What a text may be, no JSON schema can say: a schema-valid address, name or bet may be refused with 422.
LEFT_OUT = ("positive_data_acceptance",)


@pytest.fixture
def app(settings: Settings) -> Iterator[FastAPI]:
    """The API with every store there, and limits that stop nobody."""
    limits = {
        name: "2000/second"
        for name, field in Settings.model_fields.items()
        if name.startswith("limit_") and isinstance(field.default, str)
    }
    own = settings.model_copy(update={"api_tokens": SecretStr(TOKEN), **limits})
    prepare(own)
    provision(own)
    made = create_app(own)
    yield made
    made.state.services.close()


def _is_endless(context: HasAPIOperation) -> bool:
    return "text/event-stream" in str(context.operation.definition.raw.get("responses", {}))


def _asked(
    app: FastAPI,
    *,
    examples: int,
    stateful: bool,
    token: str = TOKEN,
    parameters: dict[str, str] | None = None,
) -> tuple[Counter[tuple[str, int]], list[str]]:
    """Ask everything; how often each operation had each status, and what was wrong."""
    config = SchemathesisConfig.from_dict(
        {
            "seed": 3,
            "headers": {"Authorization": f"Bearer {token}"},
            "parameters": parameters or {},
            "generation": {"max-examples": examples, "deterministic": True},
            "phases": {"stateful": {"enabled": stateful}},
            "checks": {name: {"enabled": False} for name in LEFT_OUT},
        }
    )
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config).exclude(_is_endless)
    statuses: Counter[tuple[str, int]] = Counter()
    wrong: list[str] = []
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError):
            wrong.append(f"{event.label}: {event.value}")
        elif isinstance(event, events.FatalError):
            raise event.exception
        elif isinstance(event, events.ScenarioFinished):
            for case_id, interaction in event.recorder.interactions.items():
                if interaction.response is not None:
                    label = event.recorder.cases[case_id].value.operation.label
                    statuses[label, interaction.response.status_code] += 1
            for checks in event.recorder.checks.values():
                failures = (check.failure_info for check in checks if check.failure_info is not None)
                wrong.extend(f"{failure.failure}\n    {failure.code_sample}" for failure in failures)
    return statuses, wrong


@pytest.mark.parametrize(
    ("examples", "stateful"), [(5, False), pytest.param(300, True, marks=pytest.mark.faults)]
)
@pytest.mark.timeout(1200)
def test_the_api_does_what_its_document_says_and_answers_nothing_with_a_5xx(
    app: FastAPI, examples: int, stateful: bool
) -> None:
    statuses, wrong = _asked(app, examples=examples, stateful=stateful)
    assert not wrong, "\n".join(sorted(set(wrong))[:10])
    assert not [one for one in statuses if one[1] >= 500]
    described = {
        f"{method.upper()} {path}"
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
        if "text/event-stream" not in str(operation["responses"])
    }
    assert described <= {label for label, _ in statuses}
    assert {200, 422} <= {status for _, status in statuses}


@pytest.mark.long
def test_a_token_of_other_accounts_reads_and_moves_nothing_of_an_account(
    app: FastAPI, settings: Settings
) -> None:
    database = Database(settings.operational_database_url)
    add_event(database)
    add_market(database)
    add_account(database, funds_minor=10_000)
    add_account(database, "a2", funds_minor=10_000)
    with BetSubmission(settings, database=database) as submission:
        bet_id = submission.submit(order()).bet.bet_id
    token = make_token(database, "two", accounts=["a2"])
    make_token(database, "one", accounts=["a1"])
    before = _rows_of(database, "a1")
    ids = {"account_id": "a1", "bet_id": bet_id}
    statuses, wrong = _asked(app, examples=5, stateful=False, token=token, parameters=ids)
    assert not wrong, "\n".join(sorted(set(wrong))[:10])
    of_account = {one for one in statuses if "{account_id}" in one[0] or "{bet_id}" in one[0]}
    assert {status for _, status in of_account} <= {401, 404, 405, 422}  # it leaves the token out, too
    assert len({label for label, status in of_account if status == 404}) > 12
    assert _rows_of(database, "a1") == before
    database.dispose()


def _rows_of(database: Database, account_id: str) -> list[tuple[str, str]]:
    """Every row that names the account."""
    with database.read() as connection:
        return [
            (table.name, repr(row))
            for table in metadata.sorted_tables
            if table is not security_events
            for row in connection.execute(
                sa.select(*(one for one in table.c if one.name != "published_at_us"))
            )
            if account_id in row
        ]
