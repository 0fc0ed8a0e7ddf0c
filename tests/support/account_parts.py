"""Parts of the accounts' half for tests: a clock that stands, a service on real stores, and the
mails' codes.
"""

from __future__ import annotations

import email
import email.policy
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fastapi.testclient import TestClient
from httpx import Response

from exchange_platform.confirmation.mails import ConfirmationMails
from exchange_platform.confirmation.service import AccountService, Registration
from exchange_platform.domain.accounts import MailChoice
from exchange_platform.mail.channel import Skip, Unrenderable
from exchange_platform.mail.message import OutgoingMail
from exchange_platform.process.clock import Clock
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.dynamodb.confirmation_tokens import ConfirmationTokens, ensure_tokens_table
from exchange_platform.stores.operational.accounts.accounts import Account, Accounts
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.mails.mails import MailOutcome, MailState

NOW_US = 1_800_000_000_000_000
SECOND, MINUTE, HOUR, DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
CLIENT = "192.0.2.1"


@dataclass
class StandingClock:
    """A clock that a test moves."""

    now: int = NOW_US

    def now_us(self) -> int:
        return self.now

    def monotonic_s(self) -> float:
        return self.now / 1e6

    def wait(self, wake: threading.Event, timeout_s: float) -> bool:
        self.now += int(timeout_s * 1e6)
        return wake.is_set()


@dataclass
class AccountParts:
    """The service, what mails its wishes, and what is in the stores."""

    settings: Settings
    clock: StandingClock = field(default_factory=StandingClock)

    def __post_init__(self) -> None:
        self.database = Database(self.settings.operational_database_url)
        self.dynamodb = aws_client(self.settings, "dynamodb")
        ensure_tokens_table(self.dynamodb, self.settings.tokens_table)
        self.tokens = ConfirmationTokens(self.dynamodb, self.settings.tokens_table)
        clock: Clock = self.clock
        self.service = AccountService(self.settings, self.database, self.tokens, clock=clock)
        self.mails = ConfirmationMails(self.settings, self.database, self.tokens, clock=clock)
        self.mails.claim(1)
        self.accounts = Accounts(self.database)

    def register(self, address: str = "ann@example.com", name: str = "Ann", client: str = CLIENT) -> str:
        return self.service.register(Registration.checked(address, name, "GBP", MailChoice.ALL), client)

    def account(self, account_id: str) -> Account:
        account = self.accounts.get(account_id)
        assert account is not None
        return account

    def mail(self) -> list[OutgoingMail | Skip | Unrenderable]:
        """Render what is due and mark it as sent or skipped, as the run does; what became of each."""
        due = self.mails.collect(1000, ())
        rendered = self.mails.render(due)
        self.mails.mark(
            [
                MailOutcome(mail, MailState.SKIPPED, one.reason, recipient_refused=one.as_refused)
                if isinstance(one, Skip)
                else MailOutcome(mail, MailState.SENT if isinstance(one, OutgoingMail) else MailState.SKIPPED)
                for mail, one in zip(due, rendered, strict=True)
            ]
        )
        return list(rendered)

    def codes(self) -> list[str]:
        """The codes of the mails that are due, which are sent by that."""
        return codes_in(one.text for one in self.mail() if isinstance(one, OutgoingMail))

    def close(self) -> None:
        self.dynamodb.close()
        self.database.dispose()


@dataclass
class AccountsApi:
    """The API: called by an application with its token, and by a browser."""

    parts: AccountParts
    application: TestClient
    anybody: TestClient

    def register(self, address: str = "ann@example.com", name: str = "Ann", **headers: str) -> str:
        answer = self.application.post(
            "/accounts", json={"email": address, "display_name": name}, headers=headers
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["account_id"])

    def read(self, account_id: str) -> dict[str, object]:
        answer = self.application.get(f"/accounts/{account_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def press(self, code: str) -> Response:
        answer: Response = self.anybody.post("/confirm", data={"code": code})
        return answer


def codes_in(texts: Iterable[str]) -> list[str]:
    """The codes in mails' texts, one a mail that has one: each on a line of its own."""
    lines = (line for text in texts for line in text.splitlines())
    return [line for line in lines if re.fullmatch(r"[0-9a-f]{32}\.[A-Za-z0-9_-]{43}", line)]


def mailed_texts(folder: Path, address: str) -> list[str]:
    """The texts of the mails to an address in a folder of .eml files, oldest first."""
    texts: list[tuple[float, str]] = []
    for path in folder.glob("**/*.eml"):
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        body = message.get_body(("plain",))
        if address in str(message["To"]) and body is not None:
            lines = body.get_content().splitlines()
            texts.append((path.stat().st_mtime, "\n".join(lines)))
    return [text for _, text in sorted(texts)]
