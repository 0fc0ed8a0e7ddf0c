"""What docker-compose.yml tells the platform's own services are settings that go together. Not here: its form
(`make manifests`), the servers in it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from exchange_platform.settings import load_settings
from exchange_platform.settings.section import PREFIX

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"


def _default(match: re.Match[str]) -> str:
    return match[2]


@pytest.mark.parametrize(
    "service", ["migrate", "code-server", "daemon", "webserver", "api", "exchange", "gateway"]
)
def test_a_service_s_variables_are_settings(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = re.sub(r"\$\{(\w+):-([^}]*)\}", _default, COMPOSE.read_text())
    told: dict[str, str] = yaml.safe_load(text)["services"][service]["environment"]
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(Path("/data"))
    named = {name.removeprefix(PREFIX).lower() for name in told if name.startswith(PREFIX)}
    assert named <= settings.model_fields_set
