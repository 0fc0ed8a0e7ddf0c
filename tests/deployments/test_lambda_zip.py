"""The API's zip for Lambda: unpacked into an empty directory and run by a bare Python, it answers API
Gateway's events for every route.

Marked `servers`: the zip is made of wheels that a package index serves.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.lambda_zip import MAX_BYTES, build
from exchange_platform.api.app import ROUTERS
from exchange_platform.local.emulator.server import provision
from exchange_platform.process.aws_clients import new_client
from exchange_platform.settings import Settings
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.lake.s3 import S3Access
from exchange_platform.stores.operational.database import Database
from tests.deployments import api_gateway
from tests.exchange_platform.betting import add_event, add_market
from tests.support.postgres_parts import Postgres
from tests.support.prepared import prepare

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
CHECKOUT = Path(__file__).parents[2]
FUNCTION = Path(__file__).with_name("bare_function.py")


def event(method: str, path: str, *, body: Any = None, token: str = "t" * 40) -> dict[str, Any]:
    """The event of a request by an application."""
    headers = {"authorization": f"Bearer {token}", "idempotency-key": "k1"}
    return api_gateway.event(httpx.Request(method, f"https://api.example{path}", headers=headers, json=body))


def every_route() -> list[tuple[str, str]]:
    """(method, path) of every route of the API, its parameters filled in."""
    found = []
    for router in ROUTERS:
        for route in router.routes:
            methods = sorted(getattr(route, "methods", None) or {"GET"})
            path = re.sub(r"\{[^}]*\}", "x1", str(getattr(route, "path", "/")))
            found += [(method, path) for method in methods]
    return found


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip, unpacked into an empty directory."""
    directory = tmp_path_factory.mktemp("lambda")
    try:
        size = build(directory / "api.zip", python=PYTHON)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the wheels can't be had here: {error}")
    assert size < MAX_BYTES
    with zipfile.ZipFile(directory / "api.zip") as archive:
        archive.extractall(directory / "function")
    return directory / "function"


@pytest.fixture
def environment(settings: Settings, emulator_url: str, tmp_path: Path) -> dict[str, str]:
    """A function's: where everything is, secrets by their places, and no more."""
    prepare(settings)
    provision(settings)
    database = Database(settings.operational_database_url)
    add_event(database)
    add_market(database)
    database.dispose()
    secrets = new_client("secretsmanager", region="eu-west-1", endpoint_url=emulator_url)
    for name, value in (("tokens", "t" * 40), ("key", "k" * 40)):
        secrets.create_secret(Name=f"{settings.bets_stream}/{name}", SecretString=value)
    own = {
        "AWS_ENDPOINT_URL": emulator_url,
        "BETS_STREAM": settings.bets_stream,
        "ORDERS_STREAM": settings.orders_stream,
        "PROFILES_TABLE": settings.profiles_table,
        "TOKENS_TABLE": settings.tokens_table,
        "DATABASE_URL": settings.operational_database_url,
        "LAKE_CATALOG": "postgres:host=127.0.0.1 port=1 dbname=nothing",
        "LAKE_DATA_PATH": str(tmp_path / "lake-data"),
        "ELASTICSEARCH_URL": "http://127.0.0.1:1",
        "API_TOKENS_SECRET": f"{settings.bets_stream}/tokens",
        "MAIL_KEY_SECRET": f"{settings.bets_stream}/key",
    }
    named = {f"EXCHANGE_PLATFORM_{name}": value for name, value in own.items()}
    return {**named, "TMPDIR": str(tmp_path), "HOME": "/nonexistent", "PATH": "/usr/bin:/bin"}


def answered(unpacked: Path, environment: dict[str, str], events: list[dict[str, Any]]) -> dict[str, Any]:
    """What the function answers, and what it imported from where."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(FUNCTION), str(unpacked)],
        input=json.dumps(events),
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-3000:]}"
    return dict(json.loads(done.stdout))


def test_every_route_is_answered_by_what_is_in_the_zip(unpacked: Path, environment: dict[str, str]) -> None:
    routes = every_route()
    assert len(routes) > 30
    told = answered(unpacked, environment, [event(*route) for route in routes])
    statuses = {route: answer["statusCode"] for route, answer in zip(routes, told["answers"], strict=True)}
    # Without a search server and a lake's catalog behind it, what asks them says so.
    assert {route: status for route, status in statuses.items() if status >= 500 and status != 503} == {}
    away = {path for (_, path), status in statuses.items() if status == 503}
    assert away == {"/events/search"}
    assert statuses["GET", "/health"] == 200
    outside = {
        name: file
        for name, file in told["modules"].items()
        if name not in ("__main__", "__mp_main__") and ("-packages" in file or str(CHECKOUT) in file)
    }
    assert outside == {}


def test_the_function_does_what_the_api_does(unpacked: Path, environment: dict[str, str]) -> None:
    person = {"email": "ann@example.com", "display_name": "Ann", "currency": "GBP"}
    told = answered(
        unpacked,
        environment,
        [
            event("POST", "/accounts", body=person),
            event("POST", "/accounts", body=person, token="wrong"),
            event("GET", "/openapi.json"),
            event("GET", "/docs/swagger-ui.css"),
            event("GET", "/nothing/here"),
        ],
    )
    registered, refused, document, style, nothing = told["answers"]
    assert registered["statusCode"] in (201, 202), registered
    assert refused["statusCode"] == 401
    assert json.loads(document["body"])["info"]["title"] == "Exchange Platform"
    assert nothing["statusCode"] == 404
    assert json.loads(nothing["body"])["code"]
    assert style["statusCode"] == 200
    assert not any(name.split(".")[0] in ("dagster", "pandas", "moto", "pyarrow") for name in told["modules"])


def test_duckdb_is_unpacked_only_when_the_lake_is_asked(unpacked: Path, environment: dict[str, str]) -> None:
    told = answered(unpacked, environment, [event("GET", "/health")])
    assert "_duckdb" not in told["modules"]
    told = answered(unpacked, environment, [event("GET", "/markets/m1/windows")])
    assert told["modules"]["_duckdb"].startswith(environment["TMPDIR"])
    (answer,) = told["answers"]
    assert answer["statusCode"] == 503, answer  # no catalog answers there


def test_windows_are_read_from_a_lake_on_postgresql_and_s3(
    unpacked: Path,
    environment: dict[str, str],
    emulator_url: str,
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket = f"lake-{os.getpid()}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "emulator")
    s3 = new_client("s3", region="eu-west-1", endpoint_url=emulator_url)
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    catalog, data = postgres.catalog(postgres.new_database()), f"s3://{bucket}/lake/"
    lake = Lake(catalog, data, s3=S3Access("eu-west-1", emulator_url))
    lake.migrate()
    lake.close()
    own = {
        **environment,
        "EXCHANGE_PLATFORM_LAKE_CATALOG": catalog,
        "EXCHANGE_PLATFORM_LAKE_DATA_PATH": data,
        "AWS_ACCESS_KEY_ID": "emulator",
        "AWS_SECRET_ACCESS_KEY": "emulator",
    }
    (answer,) = answered(unpacked, own, [event("GET", "/markets/m1/windows")])["answers"]
    assert answer["statusCode"] == 200, answer


def test_two_builds_are_the_same_bytes(unpacked: Path, tmp_path: Path) -> None:
    build(tmp_path / "again.zip", python=PYTHON)
    assert (tmp_path / "again.zip").read_bytes() == (unpacked.parent / "api.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "again.zip") as archive:
        names = archive.namelist()
        assert names == sorted(names)
        assert not [
            name for name in names if "__pycache__" in name or name.endswith((".pyc", "direct_url.json"))
        ]
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
