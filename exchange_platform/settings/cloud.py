"""Settings of AWS, and of Dagster there. Not here: making clients (settings/aws.py)."""

from __future__ import annotations

from pydantic import Field, SecretStr

from exchange_platform.settings.section import Section


class CloudSettings(Section):
    """AWS: streams, tables, the topic, and what Dagster runs on there."""

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
