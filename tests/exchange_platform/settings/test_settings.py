"""Settings from the environment and from AWS Secrets Manager, and what Terraform passes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from exchange_platform.process.aws_clients import new_client
from exchange_platform.settings import InvalidSettings, Settings, load_settings, secret_settings
from exchange_platform.settings.kept_secrets import Place, SecretUnreadable
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.database import Database
from tests.support.certificates import Certificate

CHECKOUT = Path(__file__).parents[3]
CA_FILE = "EXCHANGE_PLATFORM_TEST_MYSQL_CA_FILE"
MYSQL = "mysql+pymysql://exchange@db.example:3306/exchange"


@pytest.fixture
def kept(emulator_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Secrets Manager, which the environment's settings use; its secrets are forgotten after the test."""
    monkeypatch.setenv("EXCHANGE_PLATFORM_AWS_ENDPOINT_URL", emulator_url)
    client = new_client("secretsmanager", region="eu-west-1", endpoint_url=emulator_url)
    yield client
    for secret in client.list_secrets()["SecretList"]:
        client.delete_secret(SecretId=secret["ARN"], ForceDeleteWithoutRecovery=True)
    client.close()


def test_a_secret_is_read_where_its_variable_says_that_it_lies(
    kept: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arn = kept.create_secret(Name="rds", SecretString=json.dumps({"password": "p:w'd", "username": "e"}))[
        "ARN"
    ]
    kept.create_secret(Name="env/tokens", SecretString=f"{'a' * 32},{'b' * 32}")
    monkeypatch.setenv("EXCHANGE_PLATFORM_DATABASE_URL", MYSQL)
    monkeypatch.setenv("EXCHANGE_PLATFORM_DATABASE_PASSWORD_SECRET", f"{arn}:password::")
    monkeypatch.setenv("EXCHANGE_PLATFORM_LAKE_CATALOG", "postgres:host=h dbname=lake")
    monkeypatch.setenv("EXCHANGE_PLATFORM_LAKE_CATALOG_PASSWORD_SECRET", f"{arn}:password")
    monkeypatch.setenv("EXCHANGE_PLATFORM_API_TOKENS_SECRET", "env/tokens")
    settings = load_settings(tmp_path)
    assert make_url(settings.operational_database_url).password == "p:w'd"
    assert settings.lake_catalog_string.startswith(
        r"postgres:host=h dbname=lake password='p:w\'d' sslmode='verify-full' "
    )
    assert settings.lake_read_catalog_string == settings.lake_catalog_string
    assert settings.api_tokens is not None
    assert settings.api_tokens.get_secret_value() == f"{'a' * 32},{'b' * 32}"
    assert settings.tokens_of_setting == ["a" * 32, "b" * 32]
    assert "p:w" not in str(settings.describe())


def test_an_older_stage_of_a_secret_can_be_named(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.create_secret(Name="key", SecretString="old" * 20)
    kept.put_secret_value(SecretId="key", SecretString="new" * 20)
    for text, value in (("key", "new" * 20), ("key::AWSPREVIOUS", "old" * 20)):
        monkeypatch.setenv("EXCHANGE_PLATFORM_MAIL_KEY_SECRET", text)
        found = load_settings().mail_key
        assert found is not None
        assert found.get_secret_value() == value


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"MAIL_KEY_SECRET": "missing"}, "mail_key: secret missing can't be read: ResourceNotFoundException"),
        ({"MAIL_KEY_SECRET": "text:password"}, "no JSON with the key 'password'"),
        ({"MAIL_KEY_SECRET": "a:b:c:d:e"}, "mail_key: 'a:b:c:d:e' is no secret"),
        ({"MAIL_KEY_SECRET": "text", "MAIL_KEY": "k" * 32}, "are both set: keep one"),
        ({"BETS_STREAM_SECRET": "text"}, "bets_stream is no secret; these are: api_tokens, "),
        ({"API_TOKENS": f"{'t' * 32},x"}, "api_tokens: token 2 of 2 has 1 characters, too few: 32 to 512"),
        ({"API_TOKENS": "ü" * 40}, "not visible ASCII"),
        ({"DATABASE_PASSWORD": "p"}, "no database_url"),
        ({"DATABASE_PASSWORD": "p", "DATABASE_URL": "mysql+pymysql://e:q@h/x"}, "has one too: keep one"),
        ({"LAKE_CATALOG_PASSWORD": "p"}, "no lake_catalog"),
        ({"LAKE_READ_CATALOG": "postgres:host=h user=reader"}, "no lake_catalog"),
        ({"LAKE_READ_CATALOG_PASSWORD": "p"}, "no lake_read_catalog"),
        ({"DATABASE_TLS": "verified"}, "database_ca_file is needed"),
        ({"DATABASE_TLS": "off"}, "database_tls: Input should be 'preferred', 'required' or 'verified'"),
    ],
)
def test_what_is_wrong_with_a_secret_is_said_and_the_secret_is_not(
    kept: Any, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    kept.create_secret(Name="text", SecretString="very-secret")
    for name, value in variables.items():
        monkeypatch.setenv(f"EXCHANGE_PLATFORM_{name}", value)
    with pytest.raises(InvalidSettings, match=re.escape(said)) as refused:
        load_settings()
    assert "very-secret" not in str(refused.value)


def test_an_argument_is_stronger_than_a_kept_secret(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXCHANGE_PLATFORM_MAIL_KEY_SECRET", "missing")
    found = load_settings(mail_key="k" * 32).mail_key
    assert found is not None
    assert found.get_secret_value() == "k" * 32


def test_an_arn_is_told_from_what_stands_behind_it() -> None:
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds!cluster-1-AbCdEf"
    assert Place.from_text(arn) == Place(arn)
    assert Place.from_text(f"{arn}:password::") == Place(arn, "password")
    assert Place.from_text(f"{arn}:::v1") == Place(arn, None, None, "v1")
    with pytest.raises(SecretUnreadable, match="is no secret"):
        Place.from_text("arn:aws:secretsmanager:eu-west-1")


def test_tls_that_is_required_reaches_the_driver() -> None:
    plain = Settings(database_url=MYSQL, database_tls="preferred")
    required = Settings(database_url=MYSQL, database_password="p#", database_tls="required")
    verified = Settings(database_url=MYSQL, database_tls="verified", database_ca_file="/etc/rds.pem")
    told = []
    for settings in (plain, required, verified):
        engine = Database(settings.operational_database_url).engine
        told.append(engine.dialect.create_connect_args(engine.url)[1])
    assert "ssl" not in told[0]
    assert told[1]["ssl"] == {"check_hostname": False}
    assert told[1]["password"] == "p#"
    assert told[2]["ssl"] == {"ca": "/etc/rds.pem", "check_hostname": True}


@pytest.mark.servers
def test_a_certificate_that_is_to_be_verified_must_be_of_the_authority(
    mysql_url: str, tmp_path: Path
) -> None:
    if CA_FILE not in os.environ:
        pytest.skip(f"no certificate of MariaDB's: {CA_FILE} is not set (.ci/run makes one)")
    of_its_own, of_others = (
        Database(
            Settings(
                database_url=mysql_url, database_tls="verified", database_ca_file=file
            ).operational_database_url
        )
        for file in (os.environ[CA_FILE], Certificate(tmp_path).file)
    )
    with of_its_own.read() as connection:
        assert connection.exec_driver_sql("SHOW STATUS LIKE 'Ssl_cipher'").one()[1]
    with pytest.raises(StoreUnavailable, match="certificate verify failed"), of_others.read():
        pass
    of_its_own.dispose()


@pytest.mark.servers
def test_a_server_without_tls_is_refused_where_it_is_required(mysql_url: str) -> None:
    with Database(mysql_url).read() as connection:
        offers_tls = connection.exec_driver_sql("SELECT @@have_ssl").scalar() == "YES"
    database = Database(Settings(database_url=mysql_url, database_tls="required").operational_database_url)
    if offers_tls:
        with database.read() as connection:
            assert connection.exec_driver_sql("SHOW STATUS LIKE 'Ssl_cipher'").one()[1]
    else:
        with pytest.raises(StoreUnavailable, match="SSL is required"), database.read():
            pass


def test_every_variable_that_terraform_passes_is_a_setting_and_documented() -> None:
    passed = {
        name.lower()
        for file in (CHECKOUT / "deployments" / "terraform").rglob("*.tf")
        for name in re.findall(r"EXCHANGE_PLATFORM_([A-Z_]+)", file.read_text())
        if not name.endswith("_")
    }
    assert passed
    assert passed <= set(Settings.model_fields), passed - set(Settings.model_fields)


def test_every_setting_is_documented() -> None:
    text = (CHECKOUT / "docs" / "configuration.md").read_text()
    documented = {name.lower() for name in re.findall(r"^\| `([A-Z_0-9]+)` \|", text, re.MULTILINE)}
    assert documented <= set(Settings.model_fields)
    assert {name for name in Settings.model_fields if not name.startswith("betfair_")} <= documented
    kept = text[text.index("These are:") :].split("\n\n")[0]
    assert {name.lower() for name in re.findall(r"`([A-Z_]+)`", kept)} == secret_settings()
