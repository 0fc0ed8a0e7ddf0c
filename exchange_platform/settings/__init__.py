"""The one typed settings object. Read once, at a process's edge; everything below is handed what it needs.

Sources, strongest first: arguments, environment variables `EXCHANGE_PLATFORM_<NAME>`, AWS Secrets Manager (a secret's variable
`EXCHANGE_PLATFORM_<NAME>_SECRET` says where it lies), and what a running `exchange-platform up` wrote into the data directory
(`platform.json`: where its AWS emulator, exchange and pages are). Not here: how a setting is turned into a connection (locations.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url

from exchange_platform.domain.api_tokens import tokens_of_setting
from exchange_platform.domain.limits import parse_limits
from exchange_platform.process.database_tls import file_of, holds_certificate
from exchange_platform.process.exchange_signing import keys_of
from exchange_platform.settings.locations import (
    check_catalog,
    check_database_url,
    check_url,
    mysql_url,
    postgres_catalog,
    shown_url,
)

DEFAULT_DATA_DIR = Path(".exchange-platform")
EMBEDDED_MAIL_FROM = "Exchange Platform <mail@exchange-platform.invalid>"
"""Whom the embedded sender's mails come from; no real mail may."""

PLATFORM_FILE = "platform.json"
OUT_OF_MEMORY_KILLS = "out_of_memory_kills"
"""How many processes the kernel had killed for want of memory when it started stands there by this name."""
FAULTS = "faults"
"""What `up` sees going wrong stands there by this name."""
DEFAULT_API_PORT = 8000
PREFIX, KEPT = "EXCHANGE_PLATFORM_", "_SECRET"
_URLS = ("elasticsearch_url", "exchange_url", "aws_endpoint_url", "public_url")
"""Settings that may name a user and a password, as any URL may."""
_TOLD_BY_THE_RUNNING = ("aws_endpoint_url", "exchange_url", "emulator_key", "exchange_key")


def _limits(text: str) -> str:
    parse_limits(text)
    return text


LimitsText = Annotated[str, AfterValidator(_limits)]
"""How often something may happen, as `1/minute, 5/day`."""


class InvalidSettings(ValueError):
    """A setting is missing or wrong. The message names the setting, the value seen and what is allowed."""


class Settings(BaseSettings):
    """Where everything is and how fast it goes. The defaults are the embedded platform: nothing to install or start."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

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

    aws_region: str = Field("eu-west-1", description="AWS region of streams and tables.")
    aws_endpoint_url: str | None = Field(
        None, description="Endpoint of an AWS emulator; none means AWS itself."
    )
    emulator_key: SecretStr | None = Field(
        None,
        description="Secret key that an emulator on this machine checks signatures with; `up` draws one at each start. None: it takes any.",
    )
    bets_stream: str = Field("exchange-bets", description="Kinesis stream of executions and bet updates.")
    bets_consumers: int = Field(
        1,
        ge=1,
        le=256,
        description="How many consumer runs share the shards of bets_stream; more than it has shards is waste.",
    )
    orders_stream: str = Field(
        "bet-orders", description="Kinesis stream of the orders that go to the exchange."
    )
    profiles_table: str = Field("profiles", description="DynamoDB table of the profile view.")
    tokens_table: str = Field(
        "confirmation-tokens", description="DynamoDB table of the confirmation tokens' hashes, with a TTL."
    )
    status_topic: str = Field(
        "bet-status", description="SNS topic of every change of a bet: its name, or its ARN."
    )

    exchange_url: str | None = Field(
        None, description="Where the exchange answers over HTTP: its event feed, and bets by their ids."
    )
    exchange_key: SecretStr | None = Field(
        None,
        description="Key that the exchange and the platform share, 32 characters at least: requests and answers are signed with it. Several are"
        " separated by commas, the first signs. Needed for an exchange that is not this machine.",
    )

    exchange_retained_s: float = Field(
        600.0,
        gt=0,
        le=7 * 86_400,
        description="Simulated exchange: nothing is forgotten earlier after it was last published, nor before the platform has it.",
    )
    exchange_records_kept_s: float = Field(
        7200.0,
        gt=0,
        le=7 * 86_400,
        description="Simulated exchange: how long its report goes down to single records, which it can publish again.",
    )
    exchange_journal_mb: int = Field(
        2000,
        ge=10,
        le=1_000_000,
        description="Simulated exchange: above so many MB of records the oldest are forgotten, whatever else holds.",
    )

    betfair_app_key: SecretStr | None = Field(None, description="Betfair: application key.")
    betfair_session_token: SecretStr | None = Field(
        None,
        description="Betfair: a session token that was obtained elsewhere, instead of name and password.",
    )
    betfair_username: SecretStr | None = Field(None, description="Betfair: name to log in with.")
    betfair_password: SecretStr | None = Field(None, description="Betfair: password.")
    betfair_certificate: Path | None = Field(
        None, description="Betfair: file of the client certificate, with its key or without."
    )
    betfair_certificate_key: Path | None = Field(None, description="Betfair: file of the certificate's key.")
    betfair_stream: str = Field(
        "stream-api.betfair.com:443",
        pattern=r"^[^:/\s]+:\d{1,5}$",
        description="Betfair: host and port of the exchange stream.",
    )
    betfair_identity_url: str | None = Field(
        None, description="Betfair: where to log in. Default: the international exchange's."
    )

    api_tokens: SecretStr | None = Field(
        None,
        description="Bearer tokens that may do everything for all accounts, 32 characters at least, separated by commas; none: no such token."
        " `exchange-platform tokens create` makes tokens that may do less.",
    )
    public_url: str | None = Field(
        None,
        description="The API's address as users reach it, for the links in mails. Default: the API's own.",
    )
    allowed_hosts: str | None = Field(
        None,
        description="Names by which the Dagster UI and the API are called, separated by commas, besides this machine's own and public_url's.",
    )
    trusted_proxies: int = Field(
        0,
        ge=0,
        le=10,
        description="How many proxies (the application's servers count, where they pass the user's address on) stand before the"
        " API and add to X-Forwarded-For. 0: the header is not believed.",
    )

    token_lifetime_s: float = Field(
        86_400.0, ge=60, le=30 * 86_400, description="How long a mailed confirmation can be used."
    )
    pending_account_days: float = Field(
        7.0, gt=0, description="How long an account that nobody confirms is kept."
    )
    check_mx: bool = Field(
        False, description="Whether an address is refused when DNS says that its domain takes no mail."
    )
    mail_key: SecretStr | None = Field(
        None,
        description="Key that signs the unsubscribe links in mails, 32 characters at least; several are separated by commas,"
        " the first signs. Default: one drawn into data_dir.",
    )
    mail_feedback_queue: str | None = Field(
        None,
        description="SQS queue (its name or URL) that SES's bounces and complaints come to, through SNS. None: nobody looks.",
    )
    mail_feedback_topic: str | None = Field(
        None,
        description="The only SNS topic (its name, or its ARN) whose messages in that queue are believed.",
    )

    limit_registrations: LimitsText = Field("300/minute", description="Registrations by everybody together.")
    limit_registrations_client: LimitsText = Field(
        "60/minute, 600/hour", description="Registrations by one client address."
    )
    limit_registrations_client_address: LimitsText = Field(
        "3/minute, 6/day", description="Registrations of one email address by one client address."
    )
    limit_mails_address: LimitsText = Field(
        "4/minute, 12/day",
        description="Confirmation mails to one email address; what is over is not sent, and nobody is told.",
    )
    limit_resends: LimitsText = Field(
        "1/minute, 5/day", description="Confirmation mails of one account, the first included."
    )
    limit_confirmations_client: LimitsText = Field(
        "30/minute, 300/hour", description="Presses of the confirmation's button by one client address."
    )

    mail_sender: Literal["files", "smtp", "ses"] = Field(
        "files", description="How mail leaves: .eml files in data_dir, an SMTP server, or Amazon SES."
    )
    mail_from: str = Field(
        EMBEDDED_MAIL_FROM, description="Whom mail comes from, as Name <address>; needed for smtp and ses."
    )
    mail_rate_per_s: float = Field(
        100.0, gt=0, description="Most mails a second, all kinds together; SES and most servers have a limit."
    )
    mail_connections: int = Field(
        4, ge=1, le=32, description="Connections over which a run sends mail; each has one mail under way."
    )
    mail_retry_first_s: float = Field(
        5.0, gt=0, description="Pause before a mail is tried a second time; longer with every further try."
    )
    mail_give_up_s: float = Field(
        86_400.0, gt=0, description="A mail that could not be sent for so long is a dead letter."
    )
    smtp_host: str | None = Field(None, description="SMTP server, for mail_sender smtp.")
    smtp_port: int = Field(587, ge=1, le=65535, description="Its port.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="TLS after the greeting (587), from the beginning (465), or none."
    )
    smtp_user: str | None = Field(None, description="Login at the SMTP server, where it asks for one.")
    smtp_password: SecretStr | None = Field(None, description="Its password.")
    smtp_timeout_s: float = Field(
        30.0, gt=0, le=600, description="How long the SMTP server may take to answer."
    )
    smtp_ca_file: Path | None = Field(
        None,
        description="Certificates of the authority that signed the SMTP server's. Default: the system's.",
    )
    ses_configuration_set: str | None = Field(
        None, description="SES configuration set, through which bounces and complaints come back."
    )
    notifications_kept_days: float = Field(
        30.0, gt=0, description="How long changes and mails are kept after they were delivered."
    )
    published_orders_kept_days: float = Field(
        7.0, ge=1, description="How long orders are kept after they were published."
    )
    security_events_kept_days: float = Field(
        90.0, ge=1, description="How long the log of security events is kept."
    )
    runs_kept_days: float = Field(
        7.0,
        gt=0,
        description="How long Dagster's runs, with their events and output, and the rows of consumers are kept after their end.",
    )
    failed_runs_kept_days: float = Field(30.0, gt=0, description="The same for runs that failed.")
    lake_snapshots_kept_hours: float = Field(
        1.0,
        gt=0,
        description="How long a state of the lake can still be read after the next; a query that takes longer loses its files.",
    )
    lake_orphans_kept_hours: float = Field(
        24.0,
        ge=3,
        description="How old a file of the lake that its catalog does not know must be to be deleted: longer than any transaction.",
    )
    purge_budget_s: float = Field(
        300.0, gt=0, description="How long one hourly round may go on deleting one kind of what is old."
    )
    purge_behind_days: float = Field(
        1.0,
        gt=0,
        description="What should have been deleted so long ago and is still there fails the check purges_keep_up.",
    )
    fills_quiet_s: float = Field(
        3.0, ge=0, description="Fills of a bet become one mail once there was none for so long."
    )
    fills_at_most_s: float = Field(
        10.0,
        ge=0,
        description="However many fills follow, their mail leaves so long after the first of them.",
    )
    digest_interval_s: float = Field(
        86_400.0, ge=60, description="How often those who chose a digest get one."
    )
    digest_at: str = Field(
        "07:00",
        pattern=r"^([01]\d|2[0-3]):[0-5]\d$",
        description="Time of day, UTC, from which digest intervals are counted.",
    )

    searches_per_s: float = Field(
        50.0,
        gt=0,
        le=100_000,
        description="Searches a second from one address without a token; twice as many at once.",
    )
    anonymous_requests_per_s: float = Field(
        100.0,
        gt=0,
        le=100_000,
        description="Requests of any kind a second from one address without a token; twice as many at once.",
    )
    window_reads_per_s: float = Field(
        20.0,
        gt=0,
        le=100_000,
        description="Reads of odds windows a second from one address without a token; twice as many at once.",
    )
    live_clients: int = Field(
        500,
        ge=0,
        le=100_000,
        description="How many clients of one API process may follow events live; with 0 the pages poll.",
    )
    live_clients_per_address: int = Field(
        50,
        ge=1,
        le=100_000,
        description="How many of these may be of one address.",
    )

    longest_answer_s: float | None = Field(
        None,
        gt=0,
        description="An answer that tells of changes as they come ends after so long, or with the first of them. None: it goes on.",
    )

    elasticsearch_url: str | None = Field(
        None, description="Elasticsearch of the event index. Default: an index on disk in data_dir."
    )
    elasticsearch_api_key: SecretStr | None = Field(None, description="Its API key, where it asks for one.")
    event_index: str = Field("events", description="Name of the event index (an alias in Elasticsearch).")

    poll_interval_s: float = Field(
        0.2, ge=0.2, le=60, description="Pause between reads of a shard; Kinesis allows 5 a second."
    )
    lake_interval_s: float = Field(
        0.5, gt=0, le=60, description="How often the lake takes what has gathered."
    )
    profile_view_interval_s: float = Field(
        0.4, gt=0, le=60, description="How often the profile view takes what has gathered."
    )
    event_index_interval_s: float = Field(
        0.1, gt=0, le=60, description="How often the event index takes what has gathered."
    )
    max_buffered_records: int = Field(
        80_000,
        ge=1000,
        description="Records held in memory by a consumer run. A sink that falls further behind reads again what it missed.",
    )
    max_buffered_bytes: int = Field(
        64 * 1024 * 1024,
        ge=4 * 1024 * 1024,
        description="The same in bytes of the records as they arrive; decoded they take a few times as much.",
    )
    degraded_limit_s: float = Field(
        300.0,
        gt=0,
        description="A sink that has refused everything for so long (a permission, a changed table, a defect) ends its run, and the sensor starts another.",
    )
    run_duration_s: float = Field(
        900.0, gt=0, description="How long a consumer run lives before it hands over."
    )
    report_interval_s: float = Field(
        10.0, gt=0, description="How often a consumer run reports materialisations."
    )
    hand_over_lead_s: float = Field(
        30.0, ge=0, description="How long before a run's end its successor is requested."
    )
    run_start_s: float = Field(
        12.0,
        gt=0,
        description="How long a requested run may take to begin before another is requested; Fargate takes a minute.",
    )
    stale_heartbeat_s: float = Field(
        4.0,
        gt=1,
        description="A consumer without a heartbeat for so long is reported; it is taken for dead if nobody can say whether its process runs.",
    )
    hung_after_s: float = Field(
        60.0,
        gt=1,
        description="A consumer whose process runs, but without a heartbeat for so long, is hung: it is ended and replaced.",
    )

    minimum_stakes_minor: dict[str, int] = Field(
        {
            "AUD": 100,
            "CAD": 100,
            "DKK": 1000,
            "EUR": 100,
            "GBP": 100,
            "JPY": 100,
            "NOK": 1000,
            "NZD": 100,
            "SEK": 1000,
            "USD": 100,
        },
        description="Least stake of a bet, in minor units, a currency; JSON.",
    )
    pending_limit_s: float = Field(
        30.0, gt=0, description="A bet that is PENDING for longer is unknown: the exchange is asked."
    )

    orders_kept_s: float = Field(
        90_000.0,
        gt=0,
        description="Longer than an order stays readable in its stream: a bet that the exchange does not have by then lapses.",
    )

    watermark_delay_s: float = Field(
        30.0, ge=0, description="How far a market's watermark lies behind its newest event time."
    )
    silent_market_s: float = Field(
        60.0, gt=0, description="A market without news for so long (wall-clock) has its windows closed."
    )

    environment: str = Field(
        "local",
        description="Name of this deployment, such as exchange-staging: the dimension of its metrics.",
    )
    metrics_namespace: str | None = Field(
        None, description="CloudWatch namespace that the platform's figures are published to. None: nowhere."
    )

    dagster_host: str | None = Field(
        None, description="PostgreSQL server of Dagster's own storage. Default: SQLite, in Dagster's home."
    )
    dagster_port: int = Field(5432, ge=1, le=65535, description="Its port.")
    dagster_user: str = Field("exchange", description="Its user.")
    dagster_password: SecretStr | None = Field(None, description="That user's password.")
    dagster_database: str = Field("dagster", description="Its database; `migrate` creates it.")
    compute_logs_bucket: str | None = Field(
        None, description="S3 bucket of what runs print. Default: Dagster's home."
    )
    run_task: str | None = Field(
        None, description="ECS task definition that each of Dagster's runs is started from."
    )
    run_subnets: str | None = Field(
        None,
        description="Subnets that Dagster's runs are started in on AWS, separated by commas. Default: the daemon's.",
    )
    run_security_group: str | None = Field(
        None, description="And their security group. Default: the daemon's."
    )
    code_server_host: str | None = Field(
        None, description="Where Dagster's daemon and pages find the code server, on AWS."
    )

    @model_validator(mode="after")
    def _check_addresses(self) -> Settings:
        """Before they are used: a driver's error shows what it takes for the host, which may be the end of a password."""
        if self.database_url is not None:
            check_database_url("database_url", self.database_url.get_secret_value())
        for name in ("lake_catalog", "lake_read_catalog"):
            if (catalog := getattr(self, name)) is not None:
                check_catalog(name, catalog.get_secret_value())
        for name in _URLS:
            if (url := getattr(self, name)) is not None:
                check_url(name, url)
        return self

    @model_validator(mode="after")
    def _check_passwords(self) -> Settings:
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

    @model_validator(mode="after")
    def _check_mail(self) -> Settings:
        if self.mail_sender == "smtp" and self.smtp_host is None:
            raise ValueError("smtp_host is needed with mail_sender smtp")
        if self.mail_sender != "files" and self.mail_from == EMBEDDED_MAIL_FROM:
            raise ValueError(
                f"mail_from is needed with mail_sender {self.mail_sender}: such as Exchange <mail@exchange.example>"
            )
        if (self.smtp_user is None) != (self.smtp_password is None):
            raise ValueError("smtp_user and smtp_password are given together or not at all")
        return self

    @model_validator(mode="after")
    def _check_tokens(self) -> Settings:
        assert self.tokens_of_setting is not None  # raises InvalidToken, a ValueError, for what is none
        return self

    @property
    def tokens_of_setting(self) -> list[str]:
        """The tokens in `api_tokens`: secrets, never print them."""
        return tokens_of_setting(_shown(self.api_tokens) or "")

    @model_validator(mode="after")
    def _check_exchange(self) -> Settings:
        if self.exchange_key is not None:
            try:
                keys_of(self.exchange_key.get_secret_value())
            except ValueError as error:
                raise ValueError(f"exchange_key: {error}") from None
        return self

    @property
    def operational_database_url(self) -> str:
        """The SQLAlchemy URL of the operational database, secrets included: never print it."""
        if self.database_url is None:
            return f"sqlite:///{self.data_dir / 'operational.sqlite'}"
        return mysql_url(
            self.database_url.get_secret_value(),
            password=_shown(self.database_password),
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
            _shown(password),
            tls=self.database_tls,
            ca_file=self.database_authority,
        )

    @property
    def lake_data_location(self) -> str:
        """Folder or s3:// prefix of the lake's Parquet files."""
        return self.lake_data_path or str(self.data_dir / "lake" / "data")

    @property
    def exchange_keys(self) -> tuple[str, ...]:
        """The keys that the exchange's answers are believed by, the first of which signs requests; none where nothing is signed."""
        return keys_of(self.exchange_key.get_secret_value()) if self.exchange_key is not None else ()

    @property
    def public_base_url(self) -> str:
        """What the links in mails begin with, without a slash at the end."""
        return (self.public_url or f"http://127.0.0.1:{DEFAULT_API_PORT}").rstrip("/")

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Addresses without their users, too."""
        for name, value in super().__repr_args__():
            yield name, shown_url(value) if name in _URLS and value is not None else value

    def describe(self) -> dict[str, Any]:
        """Every setting as something that may be shown: secrets masked, the database's URL without its password."""
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

    `data_dir` is made absolute. A value that a running platform wrote into `platform.json` is used where neither an
    argument nor the environment says otherwise.
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
        # What contradicts another setting comes with all of them as its input, secrets too: only one setting's is shown.
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
    """Where each secret lies of which the environment says only that, by setting. Raises `InvalidSettings`."""
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


def _shown(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def read_platform_file(data_dir: Path) -> dict[str, Any]:
    """What the running platform on this data directory wrote of itself; empty where there is none."""
    try:
        content = json.loads((data_dir / PLATFORM_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}
