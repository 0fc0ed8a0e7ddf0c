"""Settings of the HTTP API and its pages."""

from __future__ import annotations

from pydantic import Field, SecretStr, model_validator

from exchange_platform.domain.api_tokens import tokens_of_setting
from exchange_platform.settings.section import LimitsText, Section, shown

DEFAULT_API_PORT = 8000


class ApiSettings(Section):
    """The HTTP API and its pages: who may call, from where, how often."""

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
    limit_registrations: LimitsText = Field("300/minute", description="Registrations by everybody together.")
    limit_registrations_client: LimitsText = Field(
        "60/minute, 600/hour", description="Registrations by one client address."
    )
    limit_registrations_client_address: LimitsText = Field(
        "3/minute, 6/day", description="Registrations of one email address by one client address."
    )
    limit_mails_address: LimitsText = Field(
        "4/minute, 12/day",
        description="Confirmation mails to one email address; what is over is not sent, and nobody learns it.",
    )
    limit_resends: LimitsText = Field(
        "1/minute, 5/day", description="Confirmation mails of one account, the first included."
    )
    limit_confirmations_client: LimitsText = Field(
        "30/minute, 300/hour", description="Presses of the confirmation's button by one client address."
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

    @model_validator(mode="after")
    def _check_tokens(self) -> ApiSettings:
        assert self.tokens_of_setting is not None  # raises InvalidToken, a ValueError, for what is none
        return self

    @property
    def tokens_of_setting(self) -> list[str]:
        """The tokens in `api_tokens`: secrets, never print them."""
        return tokens_of_setting(shown(self.api_tokens) or "")

    @property
    def public_base_url(self) -> str:
        """What the links in mails begin with, without a slash at the end."""
        return (self.public_url or f"http://127.0.0.1:{DEFAULT_API_PORT}").rstrip("/")
