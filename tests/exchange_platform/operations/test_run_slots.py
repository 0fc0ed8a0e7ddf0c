"""How many runs must be able to run at once, by the settings, and what `doctor` says of an instance that
allows fewer.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from exchange_platform.doctor.diagnosis import run_slots_finding
from exchange_platform.doctor.findings import Level
from exchange_platform.operations.run_slots import dagster_yaml, limits_too_low, slots_needed
from exchange_platform.settings import Settings

DEPLOYMENTS = Path(__file__).parents[3] / "deployments"
FILES = [DEPLOYMENTS / name for name in ("dagster.yaml", "docker/dagster.yaml", "aws/dagster.yaml")]


def test_every_consumer_and_its_successor_need_a_slot() -> None:
    assert slots_needed(Settings(bets_consumers=8)) - slots_needed(Settings(bets_consumers=1)) == 14


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(DEPLOYMENTS)))
@pytest.mark.parametrize("consumers", [1, 7, 40])
def test_the_deployments_have_places_for_all_consumers(file: Path, consumers: int) -> None:
    assert run_slots_finding(Settings(bets_consumers=consumers), file).level is Level.FINE


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("{max_concurrent_runs: 10}", "max_concurrent_runs is 10, and BETS_CONSUMERS=7 needs 26"),
        ("{}", "max_concurrent_runs is 10"),
        ("{max_concurrent_runs: 0}", "max_concurrent_runs is 0"),
        (
            "{max_concurrent_runs: -1, tag_concurrency_limits: [{key: source, limit: 1}]}",
            "limit of the tag source",
        ),
    ],
)
def test_doctor_says_which_limit_is_too_low_and_what_to_do(tmp_path: Path, limits: str, said: str) -> None:
    settings = Settings(data_dir=tmp_path, bets_consumers=7)
    assert dagster_yaml(settings) is None
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text(f"concurrency: {{runs: {limits}}}")
    file = dagster_yaml(settings)
    assert file is not None
    finding = run_slots_finding(settings, file)
    assert finding.level is Level.WRONG
    assert said in finding.found
    assert "concurrency.runs" in finding.remedy


def test_a_limit_that_is_enough_is_no_finding() -> None:
    limits = yaml.safe_load("{max_concurrent_runs: 26, tag_concurrency_limits: [{key: source, limit: 2}]}")
    assert limits_too_low(Settings(bets_consumers=7), limits) is None
