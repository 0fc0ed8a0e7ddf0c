"""A password with an @ or a / that is not escaped is refused before a driver shows its end, and no address
shows a password.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from urllib.parse import quote

import psycopg2  # type: ignore[import-untyped]
import pytest
import sqlalchemy as sa
from psycopg2.extensions import parse_dsn  # type: ignore[import-untyped]
from pydantic import SecretStr

from exchange_platform.cli import run
from exchange_platform.settings import InvalidSettings, Settings, load_settings
from exchange_platform.settings.locations import (
    UnclearAddress,
    check_catalog,
    check_database_url,
    check_url,
    shown_url,
)

HEAD, TAIL = "opensesame", "swordfish"
PASSWORDS = [
    f"{HEAD}{sign}{TAIL}"
    for sign in ("@", "/", "#", "?", ":", "@/", "/@", "?@", "#@", "@@", ":/", " ", "'", "\\", '"')
]
ADDRESSES = {
    "DATABASE_URL": "mysql+pymysql://ann:{}@127.0.0.1:1/exchange",
    "LAKE_CATALOG": "postgres:postgresql://ann:{}@127.0.0.1:1/lake",
    "LAKE_READ_CATALOG": "postgres:host=127.0.0.1 port=1 user=ann password={} dbname=lake",
    "ELASTICSEARCH_URL": "http://ann:{}@127.0.0.1:1/es",
    "EXCHANGE_URL": "http://ann:{}@127.0.0.1:1",
    "AWS_ENDPOINT_URL": "http://ann:{}@127.0.0.1:1",
}


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("name", ADDRESSES)
def test_no_part_of_a_password_is_shown_however_it_is_written(
    name: str,
    password: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`user:opensesame@swordfish@host` had `swordfish@host` for its host, and errors said so."""
    if name == "LAKE_READ_CATALOG":
        monkeypatch.setenv("EXCHANGE_PLATFORM_LAKE_CATALOG", "postgres:host=127.0.0.1 port=1 dbname=lake")
    for written in (password, quote(password, safe="")):
        monkeypatch.setenv(f"EXCHANGE_PLATFORM_{name}", ADDRESSES[name].format(written))
        try:
            settings = load_settings(tmp_path)
        except InvalidSettings as error:
            said = str(error)
        else:
            said = f"{settings.describe()} {settings!r}" if name != "LAKE_READ_CATALOG" else repr(settings)
            said += _driver_says(name, settings)
        assert HEAD not in said
        assert TAIL not in said
    monkeypatch.setenv(f"EXCHANGE_PLATFORM_{name}", ADDRESSES[name].format(password))
    if name in ("DATABASE_URL", "LAKE_CATALOG", "ELASTICSEARCH_URL") and password in PASSWORDS[:2]:
        run(["status", "--json", "--data-dir", str(tmp_path)])
        assert TAIL not in "".join(capsys.readouterr())


def _driver_says(name: str, settings: Settings) -> str:
    """What a driver finds wrong with a server that is not there."""
    try:
        if name == "DATABASE_URL":
            sa.create_engine(settings.operational_database_url).connect()
        elif name == "LAKE_CATALOG":
            psycopg2.connect(settings.lake_catalog_string.partition(":")[2])
        elif name == "LAKE_READ_CATALOG":
            psycopg2.connect(settings.lake_read_catalog_string.partition(":")[2])
    except (sa.exc.DBAPIError, psycopg2.Error) as error:
        return str(error)
    return ""


def test_what_is_let_through_means_the_same_to_libpq() -> None:
    """Every short text of these signs: whatever passes the check, libpq reads to its end, and with no @ in
    the host.
    """
    for signs in itertools.product("a@/:? '=\\", repeat=5):
        text = f"host=h password={''.join(signs)}"
        try:
            check_catalog("lake_catalog", f"postgres:{text}")
        except UnclearAddress:
            continue
        assert parse_dsn(text)["host"] == "h"


def test_a_url_that_is_let_through_means_the_same_to_libpq() -> None:
    for signs in itertools.product("a@/:?1", repeat=5):
        text = f"postgresql://ann:{''.join(signs)}@host/lake"
        try:
            check_catalog("lake_catalog", f"postgres:{text}")
        except UnclearAddress:
            continue
        assert parse_dsn(text)["host"] == "host", text
        assert parse_dsn(text)["dbname"] == "lake", text


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9200",
        "https://user:p%40ss@host.example:9200/path?a=b%40c",
        "http://[::1]:8100/",
        "http://localhost",
        "postgresql://h1:1,h2:2/lake?user=a%40b&sslmode=require",
        "postgresql:///lake?host=/run/postgresql",
    ],
)
def test_a_usual_url_is_let_through(url: str) -> None:
    check_url("a_url", url)


def test_a_database_url_without_a_host_is_refused_without_its_password() -> None:
    """`mysql://ann:opensesame/exchange` has a port that is no number, and the error showed it."""
    with pytest.raises(UnclearAddress) as refused:
        check_database_url("database_url", f"mysql+pymysql://ann:{HEAD}/exchange")
    assert HEAD not in str(refused.value)
    check_database_url("database_url", "sqlite:////tmp/a@b/operational.sqlite")


def test_a_secret_of_a_wrong_kind_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings) as refused:
        load_settings(tmp_path, api_tokens=[SecretStr(HEAD), HEAD])
    assert HEAD not in str(refused.value)


def test_a_url_is_shown_without_its_user() -> None:
    assert shown_url("http://ann:a@b@host/x") == "http://***@host/x"
    assert shown_url("http://host/x") == "http://host/x"
