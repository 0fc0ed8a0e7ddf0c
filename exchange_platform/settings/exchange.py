"""Settings of the exchange, and of Betfair."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, model_validator

from exchange_platform.process.exchange_signing import keys_of
from exchange_platform.settings.section import Section


class ExchangeSettings(Section):
    """The exchange: where it is, how its answers are believed, what it takes; Betfair's, too."""

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

    @model_validator(mode="after")
    def _check_exchange(self) -> ExchangeSettings:
        if self.exchange_key is not None:
            try:
                keys_of(self.exchange_key.get_secret_value())
            except ValueError as error:
                raise ValueError(f"exchange_key: {error}") from None
        return self

    @property
    def exchange_keys(self) -> tuple[str, ...]:
        """The keys that the exchange's answers are believed by, the first of which signs requests; none where
        nothing is signed.
        """
        return keys_of(self.exchange_key.get_secret_value()) if self.exchange_key is not None else ()
