"""What is built and published is what was locked: every installation by hashes, every action by its commit,
every image by its digest.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
WORKFLOWS = sorted((CHECKOUT / ".github" / "workflows").glob("*.yml"))
INSTALLING = [
    *WORKFLOWS,
    CHECKOUT / "Makefile",
    CHECKOUT / "Dockerfile",
    CHECKOUT / "deployments/docker/install",
]


@pytest.mark.parametrize("file", INSTALLING, ids=lambda file: file.name)
def test_nothing_is_installed_without_its_hash(file: Path) -> None:
    """But the platform itself, from the checkout, without what it depends on."""
    text = file.read_text().replace("\\\n", " ")
    for line in re.findall(r"^.*\bpip[\"']? (?:install|sync)\b.*$", text, re.MULTILINE):
        assert "--require-hashes" in line or "--no-deps" in line, line


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_every_action_is_pinned_by_its_commit(file: Path) -> None:
    used = re.findall(r"uses: (\S+)", file.read_text())
    assert used
    for action in used:
        assert action.startswith("./") or re.search(r"@[0-9a-f]{40}$", action), action


def test_what_publishes_asks_for_an_approval_and_what_runs_is_named_by_what_was_pushed() -> None:
    jobs = yaml.safe_load((CHECKOUT / ".github/workflows/release.yml").read_text())["jobs"]
    for name, job in jobs.items():
        if "id-token" in job.get("permissions", {}) and "uses" not in job:
            assert "environment" in job, name
    release, plan = (
        (CHECKOUT / ".github/workflows" / name).read_text() for name in ("release.yml", "terraform.yml")
    )
    assert 'BASE_IMAGE="$BASE_IMAGE"' in release
    assert jobs["images"]["needs"] == "base"
    assert "--if-none-match '*'" in release
    assert "image_digests" in plan
    written, read = (
        re.search(r"name: (digest-)", release),
        re.search(r"pattern: (digest-)", plan),
    )
    assert written is not None
    assert read is not None
