"""The one typed settings object. Read once, at a process's edge; everything below is handed what it needs.

Sources, strongest first: arguments, environment variables `EXCHANGE_PLATFORM_<NAME>`, AWS Secrets Manager (a
secret's variable `EXCHANGE_PLATFORM_<NAME>_SECRET` says where it lies), and what a running `exchange-platform
up` wrote into the data directory (`platform.json`: where its AWS emulator, exchange and pages are). Not here:
how a setting is turned into a connection (locations.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from sqlalchemy.engine import make_url

from exchange_platform.settings.api import ApiSettings
from exchange_platform.settings.cloud import CloudSettings
from exchange_platform.settings.consumers import ConsumerSettings
from exchange_platform.settings.databases import DatabaseSettings
from exchange_platform.settings.exchange import ExchangeSettings
from exchange_platform.settings.locations import check_catalog, check_database_url, check_url, shown_url
from exchange_platform.settings.mail import MailSettings
from exchange_platform.settings.retention import RetentionSettings
from exchange_platform.settings.section import PREFIX

PLATFORM_FILE = "platform.json"
OUT_OF_MEMORY_KILLS = "out_of_memory_kills"
"""How many processes the kernel had killed for want of memory when it started stands there by this name."""
FAULTS = "faults"
"""What `up` sees going wrong stands there by this name."""
KEPT = "_SECRET"
_URLS = ("elasticsearch_url", "exchange_url", "aws_endpoint_url", "public_url")
"""Settings that may name a user and a password, as any URL may."""
_TOLD_BY_THE_RUNNING = ("aws_endpoint_url", "exchange_url", "emulator_key", "exchange_key")


class InvalidSettings(ValueError):
    """A setting is missing or wrong. The message names the setting, the value seen and what is allowed."""


class Settings(
    ConsumerSettings,
    RetentionSettings,
    MailSettings,
    ApiSettings,
    ExchangeSettings,
    CloudSettings,
    DatabaseSettings,
):
    """Where everything is and how fast it goes. The defaults are the embedded platform: nothing to install or
    start.
    """

    @model_validator(mode="after")
    def _check_addresses(self) -> Settings:
        """Before they are used: a driver's error shows what it takes for the host, which may be the end of a
        password.
        """
        if self.database_url is not None:
            check_database_url("database_url", self.database_url.get_secret_value())
        for name in ("lake_catalog", "lake_read_catalog"):
            if (catalog := getattr(self, name)) is not None:
                check_catalog(name, catalog.get_secret_value())
        for name in _URLS:
            if (url := getattr(self, name)) is not None:
                check_url(name, url)
        return self

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Addresses without their users, too."""
        for name, value in super().__repr_args__():
            yield name, shown_url(value) if name in _URLS and value is not None else value

    def describe(self) -> dict[str, Any]:
        """Every setting as something that may be shown: secrets masked, the database's URL without its
        password.
        """
        shown = self.model_dump(mode="json")
        if self.database_url is not None:
            shown["database_url"] = make_url(self.operational_database_url).render_as_string(
                hide_password=True
            )
        for name in _URLS:
            shown[name] = shown_url(shown[name]) if shown[name] is not None else None
        return shown


def load_settings(data_dir: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings once. Raises `InvalidSettings`.

    `data_dir` is made absolute. A value that a running platform wrote into `platform.json` is used where
    neither an argument nor the environment says otherwise.
    """
    try:
        given: dict[str, Any] = {**overrides, **({"data_dir": data_dir} if data_dir is not None else {})}
        places = _secret_places(os.environ, given)
        if places:
            given.update(_kept_secrets(places, given))
        stated = Settings(**given)
        chosen = stated.model_dump(include=stated.model_fields_set)
        chosen["data_dir"] = stated.data_dir.expanduser().resolve()
        running = read_platform_file(chosen["data_dir"])
        if "exchange_url" in chosen:
            running.pop("exchange_key", None)  # another exchange's
        for name in _TOLD_BY_THE_RUNNING:
            if name not in chosen and running.get(name):
                chosen[name] = running[name]
        return Settings(**chosen)
    except ValidationError as error:
        # What contradicts another setting comes with all of them as its input, secrets too: only one
        # setting's is shown.
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}, got {_seen(problem)}"
            if problem["loc"]
            else problem["msg"].removeprefix("Value error, ")
            for problem in error.errors(include_url=False)
        )
        raise InvalidSettings(problems) from None


def _seen(problem: ErrorDetails) -> str:
    return "a secret" if problem["loc"][0] in secret_settings() else shown_url(repr(problem.get("input")))


def secret_settings() -> frozenset[str]:
    """The names of the settings that are secrets: these may be kept in Secrets Manager."""
    return frozenset(
        name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)
    )


def _secret_places(environment: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, str]:
    """Where each secret lies of which the environment says only that, by setting. Raises
    `InvalidSettings`.
    """
    secrets = secret_settings()
    places: dict[str, str] = {}
    for variable, text in environment.items():
        if not (variable.startswith(PREFIX) and variable.endswith(KEPT)) or not text:
            continue
        name = variable.removeprefix(PREFIX).removesuffix(KEPT).lower()
        if name not in secrets:
            raise InvalidSettings(f"{variable}: {name} is no secret; these are: {', '.join(sorted(secrets))}")
        if variable.removesuffix(KEPT) in environment:
            raise InvalidSettings(f"{variable} and {variable.removesuffix(KEPT)} are both set: keep one")
        if name not in given:
            places[name] = text
    return places


def _kept_secrets(places: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, str]:
    from exchange_platform.settings.kept_secrets import SecretUnreadable, read_secrets  # boto3 takes a while

    fields = Settings.model_fields
    region, endpoint, key = (
        given.get(name) or os.environ.get(PREFIX + name.upper()) or fields[name].default
        for name in ("aws_region", "aws_endpoint_url", "emulator_key")
    )
    key = key.get_secret_value() if isinstance(key, SecretStr) else key
    try:
        return read_secrets(places, region=region, endpoint_url=endpoint, emulator_key=key)
    except SecretUnreadable as error:
        raise InvalidSettings(str(error)) from None


def read_platform_file(data_dir: Path) -> dict[str, Any]:
    """What the running platform on this data directory wrote of itself; empty where there is none."""
    try:
        content = json.loads((data_dir / PLATFORM_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}
