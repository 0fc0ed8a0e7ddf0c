"""Customers over HTTP: they register, press the mailed button, pay in and bet, and write down what they were
answered.
"""

from __future__ import annotations

import email
import email.policy
import random
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import httpx

from exchange_platform.client import ApiError, ApiUnavailable, BetView, ExchangeClient
from exchange_platform.domain.bets import Side
from tests.faults.audit.customers import Acknowledged, Customer

BETS_EACH = 30
_ODDS = (None, Decimal("1.5"), Decimal(2), Decimal(3), Decimal(5), Decimal(10))
_CODE = re.compile(r"^[0-9a-f]{32}\.[A-Za-z0-9_-]{43}$", re.MULTILINE)
_T = TypeVar("_T")


class TooLate(Exception):
    """The storm is long over and there is still no answer."""


class Mailbox:
    """The codes that were mailed, by account. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._codes: dict[str, list[str]] = defaultdict(list)

    def newest_code(self, account_id: str) -> str | None:
        """The code of the newest mail to the account."""
        with self._lock:
            for path in sorted(self._folder.glob("*.eml")):
                if path.name not in self._seen:
                    self._seen.add(path.name)
                    self._read(path)
            codes = self._codes.get(account_id)
            return codes[-1] if codes else None

    def _read(self, path: Path) -> None:
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        body = message.get_body(("plain",))
        for code in _CODE.findall(str(body.get_content()).replace("\r", "") if body is not None else ""):
            self._codes[code.partition(".")[0]].append(code)


class Markets:
    """Selections of open markets, as the API lists them; looked up again when they are old. One a thread."""

    def __init__(self, client: ExchangeClient, rng: random.Random) -> None:
        self._client = client
        self._rng = rng
        self._open: list[tuple[str, int, Decimal]] = []
        self._used = 0

    def choose(self) -> tuple[str, int, Decimal] | None:
        """(market, selection, handicap); None where nothing is open."""
        if not self._open or self._used > 10:
            self._look()
        self._used += 1
        return self._rng.choice(self._open) if self._open else None

    def _look(self) -> None:
        listed = self._client.events(status=["IN_PLAY", "SCHEDULED"], limit=30)["events"]
        self._used, self._open = 0, []
        for event in self._rng.sample(listed, min(6, len(listed))):
            for market in self._client.event(event["event_id"])["markets"]:
                if market["status"] == "OPEN":
                    self._open += [
                        (market["market_id"], one["selection_id"], Decimal(one["handicap"]))
                        for one in market["selections"]
                        if one["status"] == "ACTIVE"
                    ]


class Customers:
    """So many people at once, each betting until the next takes the place."""

    def __init__(self, url: str, token: str, mail: Path, rng: random.Random, *, at_once: int) -> None:
        self._url = url
        self._mailbox = Mailbox(mail)
        self._ending = threading.Event()
        self._too_late = threading.Event()
        self._lock = threading.Lock()
        self._numbers = 0
        self.notes: list[Customer] = []
        self.refused: Counter[str] = Counter()
        self.failures: list[BaseException] = []
        self._clients = [ExchangeClient(url, token, timeout_s=5.0) for _ in range(at_once)]
        seeds = [rng.getrandbits(64) for _ in range(at_once)]
        self._threads = [
            threading.Thread(target=self._run, args=(client, random.Random(seed)), name=f"customers {place}")
            for place, (client, seed) in enumerate(zip(self._clients, seeds, strict=True))
        ]

    def start(self) -> None:
        """Open the doors."""
        for thread in self._threads:
            thread.start()

    def finish(self, within_s: float) -> None:
        """Ask for nothing new; what was asked for is repeated until it is answered, for so long at most."""
        self._ending.set()
        timer = threading.Timer(within_s, self._too_late.set)
        timer.start()
        for thread in self._threads:
            thread.join()
        timer.cancel()
        for client in self._clients:
            client.close()

    def _run(self, client: ExchangeClient, rng: random.Random) -> None:
        try:
            while not self._ending.is_set():
                _Person(self, client, rng).live()
        except TooLate:
            return
        except BaseException as error:
            self.failures.append(error)

    def next_number(self) -> int:
        """A number for the next person."""
        with self._lock:
            self._numbers += 1
            return self._numbers

    def all_betting(self) -> bool:
        """Whether there are as many as may be at once who have a bet."""
        return sum(bool(one.bets) for one in self.notes) >= len(self._threads) or bool(self.failures)

    @property
    def ending(self) -> bool:
        """Whether nothing new is to be asked for."""
        return self._ending.is_set()

    def pause(self, seconds: float) -> None:
        """Wait a little. Raises `TooLate`."""
        if self._too_late.wait(seconds):
            raise TooLate

    def newest_code(self, account_id: str) -> str | None:
        """The code of the newest mail to the account."""
        return self._mailbox.newest_code(account_id)

    def press(self, code: str | None) -> int | None:
        """Press the button of the mail that has this code; the answer's status, None where there is no
        answer.
        """
        try:
            answer = httpx.post(f"{self._url}/confirm", data={"code": code}, timeout=5.0, trust_env=False)
        except httpx.TransportError:
            return None
        return answer.status_code


class _Person:
    """One customer's life."""

    def __init__(self, customers: Customers, client: ExchangeClient, rng: random.Random) -> None:
        self._customers = customers
        self._client = client
        self._rng = rng
        self._requests = 0
        self._resting: list[str] = []
        self._me = Customer("", f"customer{customers.next_number()}@example.org")

    def live(self) -> None:
        """Register, confirm, pay in, bet."""
        account_id = self._answer(lambda: self._client.register(self._me.email, "A customer"), "register")
        if account_id is None:
            return
        self._me.account_id = account_id
        self._customers.notes.append(self._me)
        if not self._confirm():
            return
        self._deposit(self._rng.randrange(1_000_000, 3_000_000))
        markets = Markets(self._client, self._rng)
        for _ in range(BETS_EACH):
            if self._customers.ending:
                return
            self._act(markets)
            self._customers.pause(self._rng.uniform(0.1, 0.6))

    def _confirm(self) -> bool:
        """Press until it is known to be confirmed. Another mail is asked for where the code is worth nothing:
        the emulator forgets when it dies.
        """
        void: str | None = None
        while True:
            code = self._customers.newest_code(self._me.account_id)
            status = self._customers.press(code) if code not in (None, void) else None
            state = self._answer(lambda: self._client.account_state(self._me.account_id), "account")
            if state == "CONFIRMED":
                self._me.confirmed = True
                return True
            if status == 410:  # a second one voids the first, so it is asked for once a code
                void = code
                self._answer(self._ask_again, "ask again")
            self._customers.pause(0.5)

    def _ask_again(self) -> None:
        self._client._call("POST", f"/accounts/{self._me.account_id}/confirmation", repeatable=False)

    def _deposit(self, amount: int) -> None:
        key = self._key("deposit")
        balance = self._answer(
            lambda: self._client.deposit(
                self._me.account_id, amount, authorised_by="a customer", request_id=key
            ),
            key,
        )
        if balance is not None:
            self._me.deposits[key] = amount

    def _act(self, markets: Markets) -> None:
        kind = self._rng.random()
        if kind < 0.1 and self._resting:
            self._cancel(self._rng.choice(self._resting))
        elif kind < 0.18 and self._resting:
            self._replace(self._rng.choice(self._resting))
        elif kind < 0.2:
            self._deposit(self._rng.randrange(100, 5_000))
        else:
            chosen = self._answer(markets.choose, "markets")
            if chosen is not None:
                self._place(*chosen)

    def _place(self, market_id: str, selection_id: int, handicap: Decimal) -> None:
        key, side, odds = self._key("bet"), self._rng.choice(list(Side)), self._rng.choice(_ODDS)
        stake = self._rng.randrange(200, 2_000)
        bet = self._answer(
            lambda: self._client.place(
                self._me.account_id,
                market_id,
                selection_id,
                side,
                odds,
                stake,
                handicap=handicap,
                submission_id=key,
            ),
            key,
        )
        if bet is not None:
            self._me.bets[key] = Acknowledged(bet.bet_id, market_id, selection_id, side.value, odds, stake)
            self._resting = [*self._resting[-9:], bet.bet_id]

    def _cancel(self, bet_id: str) -> None:
        key = self._key("cancel")
        size = self._rng.choice([None, 100])
        bet = self._answer(lambda: self._client.cancel(bet_id, size, request_id=key), key)
        if bet is not None:
            self._me.cancels[key] = bet_id

    def _replace(self, bet_id: str) -> None:
        key, odds = self._key("replace"), Decimal(4)
        bet: BetView | None = self._answer(lambda: self._client.replace(bet_id, odds, request_id=key), key)
        if bet is not None:
            self._me.bets[key] = Acknowledged(
                bet.bet_id, bet.market_id, bet.selection_id, bet.side.value, odds, bet.stake_minor
            )
            self._resting = [*self._resting[-9:], bet.bet_id]

    def _key(self, what: str) -> str:
        self._requests += 1
        return f"{what}-{self._requests}"

    def _answer(self, call: Callable[[], _T], request: str) -> _T | None:
        """Ask until there is an answer, under the same id; None where it is a refusal. Raises `TooLate` where
        there is none.
        """
        while True:
            try:
                return call()
            except ApiUnavailable:
                try:
                    self._customers.pause(0.3)
                except TooLate:
                    self._me.unanswered.append(request)
                    raise
            except ApiError as refusal:
                self._customers.refused[f"{request.partition('-')[0]}: {refusal.status} {refusal.code}"] += 1
                if refusal.status >= 500:
                    raise
                return None


def unexpected(refused: Counter[str]) -> dict[str, int]:
    """The refusals that no customer should meet: of requests that are always allowed."""
    always: Any = ("register", "account", "deposit", "markets")
    return {what: count for what, count in refused.items() if what.startswith(always)}
