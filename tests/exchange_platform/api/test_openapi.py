"""The whole API against its own OpenAPI document: nothing that it describes, and nothing it does not, is answered with a 5xx.

Every route is covered without being named here, but those whose answer never ends (text/event-stream).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
import schemathesis
from fastapi import FastAPI
from pydantic import SecretStr
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.filters import HasAPIOperation

from exchange_platform.api.app import create_app
from exchange_platform.local.emulator import provision
from exchange_platform.settings import Settings
from tests.prepared import prepare

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
    made.state.parts.close()


def _is_endless(context: HasAPIOperation) -> bool:
    return "text/event-stream" in str(context.operation.definition.raw.get("responses", {}))


def _asked(app: FastAPI, *, examples: int, stateful: bool) -> tuple[Counter[int], set[str], list[str]]:
    """Ask everything; how often each status was answered, which operations were asked, and what was wrong."""
    config = SchemathesisConfig.from_dict(
        {
            "seed": 3,
            "headers": {"Authorization": f"Bearer {TOKEN}"},
            "generation": {"max-examples": examples, "deterministic": True},
            "phases": {"stateful": {"enabled": stateful}},
            "checks": {name: {"enabled": False} for name in LEFT_OUT},
        }
    )
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config).exclude(_is_endless)
    statuses: Counter[int] = Counter()
    operations: set[str] = set()
    wrong: list[str] = []
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError):
            wrong.append(f"{event.label}: {event.value}")
        elif isinstance(event, events.FatalError):
            raise event.exception
        elif isinstance(event, events.ScenarioFinished):
            for case in event.recorder.cases.values():
                operations.add(case.value.operation.label)
            for interaction in event.recorder.interactions.values():
                if interaction.response is not None:
                    statuses[interaction.response.status_code] += 1
            for checks in event.recorder.checks.values():
                failures = (check.failure_info for check in checks if check.failure_info is not None)
                wrong.extend(f"{failure.failure}\n    {failure.code_sample}" for failure in failures)
    return statuses, operations, wrong


@pytest.mark.parametrize(
    ("examples", "stateful"), [(5, False), pytest.param(300, True, marks=pytest.mark.faults)]
)
@pytest.mark.timeout(1200)
def test_the_api_does_what_its_document_says_and_answers_nothing_with_a_5xx(
    app: FastAPI, examples: int, stateful: bool
) -> None:
    statuses, operations, wrong = _asked(app, examples=examples, stateful=stateful)
    assert not wrong, "\n".join(sorted(set(wrong))[:10])
    assert not [status for status in statuses if status >= 500]
    described = {
        f"{method.upper()} {path}"
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
        if "text/event-stream" not in str(operation["responses"])
    }
    assert described <= operations
    assert statuses[200] > 0
    assert statuses[422] > 0
