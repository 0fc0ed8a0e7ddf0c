"""Settings of the operational database, the lake and the event index."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator
from sqlalchemy.engine import make_url

from exchange_platform.process.database_tls import file_of, holds_certificate
from exchange_platform.settings.locations import mysql_url, postgres_catalog
from exchange_platform.settings.section import Section, shown

DEFAULT_DATA_DIR = Path(".exchange-platform")


class DatabaseSettings(Section):
    """Where the operational database, the lake and the event index are, and what an analyst's query
    may use.
    """

    data_dir: Path = Field(
        DEFAULT_DATA_DIR, description="Directory of everything that the embedded platform keeps."
    )
    database_url: SecretStr | None = Field(
        None,
        description="Operational database, as mysql+pymysql://user:password@host/name. Default: SQLite in data_dir.",
    )
    database_password: SecretStr | None = Field(
        None, description="Its password, where the URL has none: so it can be kept as a secret of its own."
    )
    database_tls: Literal["preferred", "required", "verified"] | None = Field(
        None,
        description="TLS to MySQL and PostgreSQL: if they offer it, always, or always and with their certificates checked."
        " Default: verified for a server that is not this machine.",
    )
    database_ca_file: Path | None = Field(
        None,
        description="File of the authority's certificates that signed the databases'. Default: the public authorities.",
    )
    database_ca: SecretStr | None = Field(
        None, description="These certificates themselves, as PEM, where there is no file."
    )
    lake_catalog: SecretStr | None = Field(
        None, description="DuckLake catalog, as postgres:dbname=... host=.... Default: SQLite in data_dir."
    )
    lake_catalog_password: SecretStr | None = Field(
        None, description="Its password, where the catalog's text has none."
    )
    lake_read_catalog: SecretStr | None = Field(
        None,
        description="The same catalog as a role that can only SELECT, for analysts' queries and other readers. Default: lake_catalog.",
    )
    lake_read_catalog_password: SecretStr | None = Field(
        None, description="That role's password, where the text has none."
    )
    database_migrator_password: SecretStr | None = Field(
        None, description="`database-users`: password of exchange_migrator, which changes the schemas."
    )
    database_platform_password: SecretStr | None = Field(
        None, description="`database-users`: password of exchange_platform, which runs work as."
    )
    database_api_password: SecretStr | None = Field(
        None, description="`database-users`: password of exchange_api, which the API works as."
    )
    lake_reader_password: SecretStr | None = Field(
        None,
        description="`database-users`: password of lake_reader, as which analysts read the lake's catalog.",
    )
    database_separate_users: bool = Field(
        False,
        description="Whether `migrate` grants what exchange_platform and exchange_api may do, as `database-users` made them.",
    )
    lake_data_path: str | None = Field(
        None, description="Where the lake's Parquet lies. Default: a folder in data_dir."
    )
    lake_query_max_s: float = Field(
        60.0, gt=0, le=86_400, description="An analyst's query of the lake ends after so long."
    )
    lake_query_memory_mb: int = Field(
        1000, ge=100, description="Memory of such a query, and once more of its answer."
    )
    lake_query_spill_mb: int = Field(
        4000,
        ge=0,
        description="What such a query may write to a temporary directory when memory does not suffice.",
    )
    elasticsearch_url: str | None = Field(
        None, description="Elasticsearch of the event index. Default: an index on disk in data_dir."
    )
    elasticsearch_api_key: SecretStr | None = Field(None, description="Its API key, where it asks for one.")
    event_index: str = Field("events", description="Name of the event index (an alias in Elasticsearch).")

    @model_validator(mode="after")
    def _check_passwords(self) -> DatabaseSettings:
        if self.database_password is not None:
            if self.database_url is None:
                raise ValueError("database_password is given, and no database_url")
            if make_url(self.database_url.get_secret_value()).password:
                raise ValueError("database_password is given, and database_url has one too: keep one")
        if self.lake_catalog_password is not None and self.lake_catalog is None:
            raise ValueError("lake_catalog_password is given, and no lake_catalog")
        if self.lake_read_catalog is not None and self.lake_catalog is None:
            raise ValueError("lake_read_catalog is given, and no lake_catalog")
        if self.lake_read_catalog_password is not None and self.lake_read_catalog is None:
            raise ValueError("lake_read_catalog_password is given, and no lake_read_catalog")
        if self.database_tls == "verified" and self.database_ca_file is None and self.database_ca is None:
            raise ValueError("database_ca_file is needed with database_tls verified, or database_ca")
        if self.database_ca is not None and not holds_certificate(self.database_ca.get_secret_value()):
            raise ValueError("database_ca is no PEM of certificates (-----BEGIN CERTIFICATE-----)")
        return self

    @property
    def operational_database_url(self) -> str:
        """The SQLAlchemy URL of the operational database, secrets included: never print it."""
        if self.database_url is None:
            return f"sqlite:///{self.data_dir / 'operational.sqlite'}"
        return mysql_url(
            self.database_url.get_secret_value(),
            password=shown(self.database_password),
            tls=self.database_tls,
            ca_file=self.database_authority,
        )

    @property
    def database_authority(self) -> Path | None:
        """The file of the authority whose certificates the databases show; None means the public ones."""
        if self.database_ca_file is not None or self.database_ca is None:
            return self.database_ca_file
        return file_of(self.database_ca.get_secret_value())

    @property
    def lake_catalog_string(self) -> str:
        """What DuckLake attaches, after `ducklake:`; secrets included: never print it."""
        if self.lake_catalog is not None:
            return self._postgres_catalog(self.lake_catalog, self.lake_catalog_password)
        return f"sqlite:{self.data_dir / 'lake' / 'catalog.sqlite'}"

    @property
    def lake_read_catalog_string(self) -> str:
        """What DuckLake attaches for those who only read; secrets included: never print it."""
        if self.lake_read_catalog is None:
            return self.lake_catalog_string
        return self._postgres_catalog(self.lake_read_catalog, self.lake_read_catalog_password)

    def _postgres_catalog(self, catalog: SecretStr, password: SecretStr | None) -> str:
        return postgres_catalog(
            catalog.get_secret_value(),
            shown(password),
            tls=self.database_tls,
            ca_file=self.database_authority,
        )

    @property
    def lake_data_location(self) -> str:
        """Folder or s3:// prefix of the lake's Parquet files."""
        return self.lake_data_path or str(self.data_dir / "lake" / "data")
