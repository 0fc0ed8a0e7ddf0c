"""The API as a function at work on an emulator that records. Not here: the API's own task
(calls_of_tasks.py), that the function answers (test_lambda_zip.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import httpx
import pytest

from exchange_platform.api.lambda_handler import Function
from exchange_platform.settings import KEPT, Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.settings.kept_secrets import Place, read_secrets
from exchange_platform.settings.section import PREFIX
from tests.deployments.api_gateway import through_gateway
from tests.deployments.calls_of_tasks import BET, DAY, TOKEN, mails, own_variables, records
from tests.deployments.recorded_calls import Recorder
from tests.support.account_parts import codes_in
from tests.support.platform_parts import wait_for

FUNCTION = "lambda"
TAKES_NO_PASSWORD = {
    f"{PREFIX}{name}" for name in ("DATABASE_PASSWORD", "LAKE_CATALOG_PASSWORD", "DATABASE_CA")
}
"""SQLite's settings: what lies in these places is read beside."""


def work_as_function(
    settings: Settings, recorder: Recorder, outputs: Mapping[str, Any], patch: pytest.MonkeyPatch
) -> None:
    """Starts as Lambda starts it, told where its secrets lie. An account is registered and bets, its profile
    and a market's windows are read.
    """
    places: Mapping[str, str] = outputs["secret_variables"]["api"]
    _keep(settings, places)
    (code, *_) = codes_in(mails(settings))
    with patch.context() as environment, recorder.at_work(FUNCTION):
        for name, text in own_variables(settings).items():
            environment.setenv(name, text)
        for name, place in places.items():
            if name not in TAKES_NO_PASSWORD:
                environment.setenv(name + KEPT, place)
        read_secrets(
            {name: places[name] for name in TAKES_NO_PASSWORD},
            region=settings.aws_region,
            endpoint_url=settings.aws_endpoint_url,
        )
        with (
            closing(Function()) as function,
            through_gateway(function, authorization=f"Bearer {TOKEN}") as client,
        ):
            _ask(client, code)
            wait_for(
                lambda: recorder.was_asked(FUNCTION, "kinesis:DescribeStreamSummary"),
                what="a look of the orders' relay",
            )


def _keep(settings: Settings, places: Mapping[str, str]) -> None:
    """The deployment's secrets, as an account holds them."""
    secrets = aws_client(settings, "secretsmanager")
    held = {Place.from_text(text).secret: Place.from_text(text).key for text in places.values()}
    for arn, key in held.items():
        # With the end that the account made up: so the emulator finds it by that account's ARN.
        name = arn.rpartition(":")[2]
        value = TOKEN if "/api-tokens-" in name else "k" * 48
        secrets.create_secret(Name=name, SecretString=f'{{"{key}": "{value}"}}' if key else value)
    secrets.close()


def _ask(client: httpx.Client, code: str) -> None:
    """All that takes something of AWS's."""
    registered = client.post("/accounts", json={"email": "cy@exchange.example", "display_name": "Cy"})
    assert registered.status_code == 202, registered.text
    assert client.post("/confirm", data={"code": code}).status_code == 410  # it was used before
    placed = client.post("/bets", json=BET, headers={"Idempotency-Key": "k2"})
    assert placed.status_code in {200, 201, 202}, placed.text
    profile = client.get(f"/accounts/{BET['account_id']}/profile")
    assert profile.status_code in {200, 404}, profile.text
    windows = client.get(f"/markets/{records()[0].market_id}/windows", params=DAY)
    assert windows.json()["windows"], windows.text
