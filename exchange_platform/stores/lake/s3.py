"""Letting DuckDB read and write the lake's files on S3. Not here: the lake itself (connection.py)."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import boto3
import duckdb

from exchange_platform.stores.checkpoints import StoreUnavailable

LARGEST_FILE = "50GB"
"""DuckDB uploads a file in 10,000 parts at most and holds a whole part in memory: 80 MB of its default of 800
GB, 5 MB of this.
"""


@dataclass(frozen=True, slots=True)
class S3Access:
    """Where S3 is; who asks is what boto3 finds (environment, profile, role of the task)."""

    region: str
    endpoint_url: str | None = None
    """Of an emulator or another server than AWS; path-style addresses are used then."""

    def grant(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Give the connection a secret for S3. Temporary credentials are asked for again with every new
        connection.

        Raises `StoreUnavailable` where boto3 finds no credentials.
        """
        found = boto3.Session(region_name=self.region).get_credentials()
        if found is None:
            raise StoreUnavailable(
                "lake: no AWS credentials for its files on S3; boto3 looks for them as the AWS CLI does"
            )
        credentials = found.get_frozen_credentials()
        parts = {
            "KEY_ID": credentials.access_key,
            "SECRET": credentials.secret_key,
            "SESSION_TOKEN": credentials.token,
            "REGION": self.region,
        }
        options = [f"{name} {_quoted(value)}" for name, value in parts.items() if value]
        if self.endpoint_url:
            url = urlsplit(self.endpoint_url)
            options += [
                f"ENDPOINT {_quoted(url.netloc)}",
                "URL_STYLE 'path'",
                f"USE_SSL {'true' if url.scheme == 'https' else 'false'}",
            ]
        try:
            connection.execute(f"CREATE OR REPLACE SECRET lake_files (TYPE s3, {', '.join(options)})")
            connection.execute(f"SET s3_uploader_max_filesize = '{LARGEST_FILE}'")
        except duckdb.Error as error:  # its message may quote the statement
            raise StoreUnavailable(
                f"lake: DuckDB refuses the S3 credentials ({type(error).__name__})"
            ) from None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
