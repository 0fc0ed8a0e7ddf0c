"""The platform runs on what Terraform made, from an empty account to the first bet and on, whatever of it
dies; then all that it counted agrees.

Variables and secrets are those of the task definitions, Dagster's runs are tasks that its launcher has ECS
start; MariaDB, PostgreSQL and Elasticsearch stand in for Aurora and Elastic Cloud. Not here: how environments
are made, changed and taken away (test_terraform.py); how its tasks become processes (tasks.py).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest

from exchange_platform.client import ApiError, ApiUnavailable, ExchangeClient
from exchange_platform.domain.bets import Side
from exchange_platform.local.dagster_pages import DagsterPages, PagesSilent
from exchange_platform.operations.status import StatusReader
from exchange_platform.settings import load_settings
from exchange_platform.stores.lake import Lake
from tests.deployments.tasks import SERVICES, TOKEN, Servers, Tasks, put_secrets
from tests.deployments.terraforming import Account, Terraform, plugin_directory
from tests.exchange_platform.local.conftest import wait_until
from tests.exchange_platform.local.test_up import assert_all_agrees
from tests.exchange_platform.stores.event_index_parts import index_settings
from tests.support.account_parts import codes_in
from tests.support.certificates import Certificate
from tests.support.postgres_parts import Postgres

pytestmark = [pytest.mark.servers, pytest.mark.alone, pytest.mark.timeout(900)]

ADDRESS = "ann@exchange.example"
STAKE_MINOR = 200
PATIENCE_S = 180.0
REBUILD = """mutation { launchRun(executionParams: {runConfigData: "{}", selector: {repositoryName: "__repository__",
    repositoryLocationName: "exchange-platform", jobName: "rebuild_event_index"}}) {
    ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""


@pytest.fixture
def staging(tmp_path: Path) -> Iterator[Terraform]:
    """Staging in an account of its own, as docs/deployment.md makes it up to step 8."""
    plugins = plugin_directory()
    if plugins is None:
        pytest.skip("no terraform, or no provider for it, on this machine")
    with closing(Account(tmp_path / "emulator.log")) as account:
        terraform = Terraform(tmp_path, plugins, "staging", account)
        terraform.prepare("module.release")
        terraform.apply()
        put_secrets(account, Certificate(tmp_path).file.read_text())
        yield terraform


@pytest.fixture
def account(staging: Terraform) -> Account:
    return staging.account


@pytest.fixture
def tasks(
    mysql_url: str, postgres: Postgres, staging: Terraform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Tasks]:
    """Its tasks at work, the schemas made by one of them."""
    with index_settings("elasticsearch", tmp_path) as index:
        servers = Servers(mysql_url, postgres, index, postgres.new_database())
        tasks = Tasks(tmp_path, staging.account, staging.outputs, servers, monkeypatch)
        try:
            tasks.start_tasks()
            tasks.start()
            yield tasks
        finally:
            tasks.close()


def test_the_platform_runs_on_what_terraform_made(tasks: Tasks, account: Account, feeds: Path) -> None:
    with ExchangeClient(tasks.api_url, TOKEN) as client:
        ann = _first(lambda: client.register(ADDRESS, "Ann"), tasks)
        _confirm(client, ann, tasks, account)
        client.deposit(ann, 10_000, authorised_by="a test")
        bets: list[str] = []
        bet_id = _first(lambda: _matched_bet(client, ann, bets), tasks)
        _first(lambda: client.profile(ann)["bets"], tasks)
        _first(lambda: any(bet_id in text for text in account.mails_to(ADDRESS)), tasks)

        tasks.run("replay", str(feeds / "1.197931750.bz2"))
        tasks.kill_run()
        _goes_on(tasks)
        for service in SERVICES:
            tasks.kill(service)
            _goes_on(tasks)
        _first(lambda: client.events(q="sheffield")["events"], tasks)
        with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
            for asset in ("bets", "executions", "events", "notifications"):
                _first(partial(_materializations, instance, asset), tasks)
            rebuilt = _first(lambda: _rebuild_index(tasks), tasks)
            _first(partial(_succeeded, instance, rebuilt), tasks)
        assert client.events(q="sheffield")["events"]

    tasks.end_exchange()
    settings = load_settings()
    with closing(StatusReader(settings)) as reader:
        _first(lambda: reader.read_when_caught_up().caught_up, tasks)
    assert_all_agrees(tasks.data_dir)
    with closing(Lake.from_settings(settings)) as lake:
        lake.maintain()
        count = "SELECT count(*) AS count FROM executions WHERE market_id LIKE '%197931750'"
        assert lake.query(count).to_pylist() == [{"count": 809}]
    bucket, _, prefix = settings.lake_data_location.removeprefix("s3://").partition("/")
    assert account.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)["KeyCount"] > 0


def _rebuild_index(tasks: Tasks) -> str | None:
    """What an operator does on Dagster's pages; the id of the run that was asked for. None while they are not
    up, or the daemon is not.
    """
    pages = DagsterPages(tasks.pages_url)
    try:
        if pages.load_error() or pages.unhealthy_daemons():
            return None
    except PagesSilent:
        return None
    asked = httpx.post(f"{tasks.pages_url}/graphql", json={"query": REBUILD}, trust_env=False).json()
    return str(asked["data"]["launchRun"]["run"]["runId"])


def _succeeded(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is not None and run.is_success


def _materializations(instance: dg.DagsterInstance, asset: str) -> Sequence[Any]:
    return instance.fetch_materializations(dg.AssetKey(asset), limit=1).records


def _confirm(client: ExchangeClient, registered: str, tasks: Tasks, account: Account) -> None:
    """What the owner of the address does with the code in the mail."""
    (code,) = _first(lambda: codes_in(account.mails_to(ADDRESS)), tasks)
    assert httpx.post(f"{tasks.api_url}/confirm", data={"code": code}, trust_env=False).status_code == 200
    assert client.account_state(registered) == "CONFIRMED"


def _goes_on(tasks: Tasks) -> None:
    """Records that came after now are in every store, and none became a dead letter."""
    with closing(StatusReader(load_settings())) as reader:
        seen = reader.read_when_caught_up().records
        # One instant, waited for: asked anew each few seconds, a platform that is steadily some seconds
        # behind would never be there.
        _first(
            lambda: (now := reader.read_when_caught_up(PATIENCE_S)).caught_up and now.records > seen, tasks
        )
        assert reader.read_when_caught_up().dead_letters == 0


def _first(ask: Callable[[], Any], tasks: Tasks) -> Any:
    """The first answer that is one; the API may not be up yet, nor know what it will."""
    found: list[Any] = []

    def answers() -> bool:
        try:
            found[:] = [ask()]
        except (ApiError, ApiUnavailable):
            return False
        return bool(found[0])

    wait_until(answers, PATIENCE_S, told=tasks.told)
    return found[0]


def _matched_bet(client: ExchangeClient, account: str, bets: list[str]) -> str | None:
    """The id of a bet that was matched. In play, markets close and are suspended: while none was, another bet
    is placed on another selection.
    """
    for bet_id in bets:
        if client.bet(bet_id).matched_minor == STAKE_MINOR:
            return bet_id
    found = _open_selections(client)
    if found:
        market, selection = found[len(bets) % len(found)]
        bets.append(client.place(account, market, selection, Side.BACK, Decimal("1.01"), STAKE_MINOR).bet_id)
        pause = threading.Event()
        for _ in range(20):
            if client.bet(bets[-1]).matched_minor == STAKE_MINOR:
                return bets[-1]
            pause.wait(0.5)
    return None


def _open_selections(client: ExchangeClient) -> list[tuple[str, int]]:
    """Selections that can be bet on, the first of each market."""
    return [
        (market["market_id"], market["selections"][0]["selection_id"])
        for event in client.events(status="IN_PLAY", limit=20)["events"]
        for market in client.event(event["event_id"])["markets"]
        if market["status"] == "OPEN"
    ]
