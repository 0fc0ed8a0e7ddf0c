"""Terraform's commands for one environment, against an emulated account of its own. Not here: what must hold
(test_terraform.py).
"""

from __future__ import annotations

import email
import email.policy
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from exchange_platform.local.programs import free_ports
from tests.deployments.telling_emulator import SENT
from tests.exchange_platform.local.conftest import wait_until

TERRAFORM = Path(__file__).parents[2] / "deployments" / "terraform"
REGION = "eu-west-1"
RELEASE = "1.2.3"
DIGESTS = json.dumps({target: f"sha256:{target.encode().hex():0<64}" for target in ("dagster", "api")})
ARTIFACTS = "module.release.module.artifacts.aws_s3_bucket.this"
# The exit statuses of `terraform plan -detailed-exitcode`.
NOTHING_TO_CHANGE, CHANGES = 0, 2
ON_THE_EMULATOR = """
terraform {
  backend "local" {}
}

provider "aws" {
  access_key                  = "emulator"
  secret_key                  = "emulator"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true
  max_retries                 = 5
}
"""


def plugin_directory() -> str | None:
    """Where Terraform's provider lies on this machine; None where there is none, or no Terraform."""
    done = subprocess.run([TERRAFORM / "plugins"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


class Refused(Exception):
    """Terraform ended with an error; what it said."""


class Account:
    """An empty AWS account: an emulator's process, with its log."""

    def __init__(self, log: Path) -> None:
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log.open("wb")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.deployments.telling_emulator"),
                *("--empty", "--port", str(self.port), "--data-dir", str(log.parent)),
            ],
            env={**os.environ, "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        wait_until(self._answers, within_s=60)

    def client(self, service: str) -> Any:
        """A boto3 client for a service of this account."""
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="emulator",
            aws_secret_access_key="emulator",
            config=Config(proxies={}),
        )

    def mails_to(self, address: str) -> list[str]:
        """The texts of the mails that were sent to an address."""
        sent = httpx.get(f"{self.url}{SENT}", trust_env=False).json()
        mails = [email.message_from_string(mail, policy=email.policy.default) for mail in sent]
        texts = [mail.get_body(("plain",)) for mail in mails if address in str(mail["To"])]
        return [text.get_content() for text in texts if text is not None]

    def close(self) -> None:
        """End the emulator."""
        self._process.terminate()
        self._process.wait(30)
        self._log.close()

    def _answers(self) -> bool:
        try:
            return bool(self.client("sts").get_caller_identity())
        except (BotoCoreError, ClientError):
            return False


class Terraform:
    """Terraform in a copy of the composition, for one environment."""

    def __init__(self, directory: Path, plugins: str, environment: str, account: Account) -> None:
        self.environment = environment
        self.account = account
        self._directory = directory / "terraform"
        shutil.copytree(TERRAFORM, self._directory, ignore=shutil.ignore_patterns(".terraform*"))
        (self._directory / "emulator_override.tf").write_text(ON_THE_EMULATOR)
        self._variables = [
            f"-var-file=environments/{environment}.tfvars",
            f"-var=release={RELEASE}",
            f"-var=image_digests={DIGESTS}",
            "-var=sign_function=false",  # the emulator's Lambda knows no signatures
        ]
        self._run("init", f"-plugin-dir={plugins}")

    def prepare(self, target: str) -> None:
        """Make where artifacts lie, and what is there before the rest: the function's zip, and a
        certificate.
        """
        self._run("apply", "-auto-approve", f"-target={target}", *self._variables)
        bucket = f"exchange-{self.environment}-artifacts-123456789012"
        self.account.client("s3").put_object(Bucket=bucket, Key=f"lambda/api-{RELEASE}.zip", Body=_a_zip())
        certificate = self.account.client("acm").request_certificate(DomainName="api.exchange.example")
        self._variables = [
            *self._variables[:4],
            f"-var=certificate_arn={certificate['CertificateArn']}",
        ]

    def apply(self, *more: str) -> None:
        """Make everything as it is written."""
        self._run("apply", "-auto-approve", *self._variables, *more)

    def destroy(self, *more: str) -> None:
        """Take everything away."""
        self._run("destroy", "-auto-approve", *self._variables, *more)

    def changes(self) -> str:
        """What a plan would change, in Terraform's words; empty where all is as it is written."""
        status, told = self._run(
            "plan", "-detailed-exitcode", *self._variables, ends_well=(NOTHING_TO_CHANGE, CHANGES)
        )
        return told if status == CHANGES else ""

    @property
    def resources(self) -> list[str]:
        """The addresses of what it holds, sorted."""
        return sorted(
            f"{resource.get('module', '')}.{resource['type']}.{resource['name']}"
            for resource in self.state["resources"]
            if resource["mode"] == "managed" and resource["instances"]
        )

    @property
    def state(self) -> dict[str, Any]:
        """What it knows of what it made."""
        state: dict[str, Any] = json.loads((self._directory / "terraform.tfstate").read_text())
        return state

    @property
    def outputs(self) -> dict[str, Any]:
        """What it gives to the application."""
        return {name: output["value"] for name, output in self.state["outputs"].items()}

    def _run(self, command: str, *arguments: str, ends_well: tuple[int, ...] = (0,)) -> tuple[int, str]:
        parallel = () if command == "init" else ("-parallelism=40",)
        done = subprocess.run(
            ["terraform", command, "-input=false", "-no-color", *parallel, *arguments],
            cwd=self._directory,
            env={**os.environ, "AWS_ENDPOINT_URL": self.account.url, "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode not in ends_well:
            raise Refused(f"terraform {command} of {self.environment}:\n{done.stderr}")
        return done.returncode, done.stdout


def _a_zip() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("exchange_platform/__init__.py", "")
    return content.getvalue()
