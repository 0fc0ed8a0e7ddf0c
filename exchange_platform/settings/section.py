"""What the sections of the settings are made with. Not here: the sections, and reading them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from exchange_platform.domain.limits import parse_limits

PREFIX = "EXCHANGE_PLATFORM_"


class Section(BaseSettings):
    """A part of the settings, about one subject."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")


def _limits(text: str) -> str:
    parse_limits(text)
    return text


LimitsText = Annotated[str, AfterValidator(_limits)]
"""How often something may happen, as `1/minute, 5/day`."""


def shown(secret: SecretStr | None) -> str | None:
    """A secret's text: never print it."""
    return secret.get_secret_value() if secret is not None else None
