"""What the doctor tries on AWS: each trial goes well where all is there, changes nothing, and names what to
do where it fails.
"""

from __future__ import annotations

import uuid

import pytest

from exchange_platform.doctor import diagnosis
from exchange_platform.doctor import permissions as doctor_permissions
from exchange_platform.doctor.findings import Finding, Level
from exchange_platform.local.emulator.server import provision
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from tests.support.prepared import prepare


@pytest.fixture
def on_aws(settings: Settings, emulator_url: str) -> Settings:
    """A platform of which the emulator has everything; its stores are SQLite all the same."""
    own = f"exchange-{uuid.uuid4().hex[:6]}"
    prepare(settings)
    provision(settings)
    stated = settings.model_copy(
        update={"lake_data_path": f"s3://{own}-lake/lake/", "run_task": f"{own}-run"}
    )
    aws_client(stated, "s3").create_bucket(
        Bucket=f"{own}-lake", CreateBucketConfiguration={"LocationConstraint": settings.aws_region}
    )
    aws_client(stated, "ecs").register_task_definition(
        family=f"{own}-run",
        cpu="1024",
        memory="2048",
        containerDefinitions=[{"name": "run", "image": "dagster:1", "memory": 2048}],
    )
    return stated


def found(settings: Settings) -> dict[str, Finding]:
    return {
        part: diagnosis.tried(part, remedy, trial)
        for part, remedy, trial in doctor_permissions.trials(settings)
    }


def test_every_trial_goes_well_and_changes_nothing(on_aws: Settings) -> None:
    for finding in found(on_aws).values():
        assert finding.level is Level.FINE, finding
    assert set(found(on_aws)) == {
        "permission to read the stream",
        "permission to write the profile view",
        "permission to write tokens",
        "permission to write the lake's files",
        "task of runs",
    }
    dynamodb, s3 = aws_client(on_aws, "dynamodb"), aws_client(on_aws, "s3")
    for table in (on_aws.profiles_table, on_aws.tokens_table):
        assert dynamodb.scan(TableName=table)["Items"] == []
    bucket = on_aws.lake_data_location.split("/")[2]
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_each_part_that_is_missing_is_named_with_what_to_do(on_aws: Settings) -> None:
    lost = on_aws.model_copy(
        update={
            "bets_stream": "no-such",
            "profiles_table": "no-such",
            "tokens_table": "no-such",
            "lake_data_path": "s3://no-such-bucket-here/lake/",
            "run_task": "no-such",
        }
    )
    for finding in found(lost).values():
        assert finding.level is Level.WRONG, finding
        assert finding.remedy


def test_a_misspelt_variable_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXCHANGE_PLATFORM_BET_STREAM", "x")
    monkeypatch.setenv("EXCHANGE_PLATFORM_BETS_STREAM", "x")
    monkeypatch.setenv("EXCHANGE_PLATFORM_MAIL_KEY_SECRET", "x")
    assert doctor_permissions.unknown_variables() == ["EXCHANGE_PLATFORM_BET_STREAM"]
