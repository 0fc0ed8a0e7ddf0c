"""What an image installs comes from the lock, with its hashes, and nothing that the lock does not have."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_FILE = Path(__file__).parents[2] / "deployments" / "docker" / "locked.py"
_spec = importlib.util.spec_from_file_location("locked", _FILE)
assert _spec is not None
assert _spec.loader is not None
locked = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(locked)

LOCK = (
    "boto3==1.2 \\\n    --hash=sha256:aa\n"
    "numpy==1.0 ; python_version < '3.12' \\\n    --hash=sha256:bb\n"
    "numpy==2.0 ; python_version >= '3.12' \\\n    --hash=sha256:cc\n"
    "ruamel-yaml==3.0 \\\n    --hash=sha256:dd\n"
)


def test_an_entry_comes_with_its_hashes_under_any_spelling_of_its_name() -> None:
    assert locked.select(LOCK, "Ruamel.YAML==3.0\n") == "ruamel-yaml==3.0 \\\n    --hash=sha256:dd"


def test_a_package_with_a_version_for_each_python_keeps_all_of_them() -> None:
    selected = locked.select(LOCK, "numpy==2.0\n")
    assert "sha256:bb" in selected
    assert "sha256:cc" in selected
    assert "boto3" not in selected


def test_what_the_lock_does_not_have_is_named() -> None:
    with pytest.raises(KeyError, match="requests"):
        locked.select(LOCK, "boto3\nrequests\n")
