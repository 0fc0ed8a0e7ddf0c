"""Settings of mails and of accounts' confirmation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from exchange_platform.settings.section import Section

EMBEDDED_MAIL_FROM = "Exchange Platform <mail@exchange-platform.invalid>"
"""Whom the embedded sender's mails come from; no real mail may."""


class MailSettings(Section):
    """Mails: to whom, from whom, through what, how often; accounts' confirmation."""

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

    @model_validator(mode="after")
    def _check_mail(self) -> MailSettings:
        if self.mail_sender == "smtp" and self.smtp_host is None:
            raise ValueError("smtp_host is needed with mail_sender smtp")
        if self.mail_sender != "files" and self.mail_from == EMBEDDED_MAIL_FROM:
            raise ValueError(
                f"mail_from is needed with mail_sender {self.mail_sender}: such as Exchange <mail@exchange.example>"
            )
        if (self.smtp_user is None) != (self.smtp_password is None):
            raise ValueError("smtp_user and smtp_password are given together or not at all")
        return self
