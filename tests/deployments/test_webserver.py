"""The Dagster UI behind its guard: a real webserver, real requests, a real run that a page of another site
wants to delete.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import httpx
import pytest
from dagster._core.test_utils import create_run_for_test
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from exchange_platform.local.programs import free_ports
from tests.support.platform_parts import wait_for

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Webserver:
    """A webserver and its instance."""

    url: str
    instance: dg.DagsterInstance

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def deletion(self) -> tuple[str, str]:
        """A run that is there, and the mutation that deletes it."""
        run_id = create_run_for_test(self.instance).run_id
        return run_id, f'mutation {{ deleteRun(runId: "{run_id}") {{ __typename }} }}'

    def has(self, run_id: str) -> bool:
        return self.instance.has_run(run_id)


@pytest.fixture(scope="module")
def webserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webserver]:
    home = tmp_path_factory.mktemp("dagster-home")
    shutil.copyfile(CHECKOUT / "deployments" / "dagster.yaml", home / "dagster.yaml")
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "deployments.webserver", "-p", str(port), "--empty-workspace"],
        cwd=CHECKOUT,
        env=os.environ | {"DAGSTER_HOME": str(home), "EXCHANGE_PLATFORM_ALLOWED_HOSTS": "ui.example"},
    )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None
        try:
            return httpx.get(f"{url}/server_info", trust_env=False, verify=False).is_success
        except httpx.HTTPError:
            return False

    try:
        wait_for(answers, timeout_s=60)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield Webserver(url, instance)
    finally:
        process.terminate()
        process.wait(20)


EVIL = "https://evil.example"
CROSS_SITE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}


def test_an_image_on_any_page_deletes_nothing(webserver: Webserver) -> None:
    """Any page that an operator had open could delete a run: `GET /graphql?query=mutation{deleteRun...}`."""
    run_id, mutation = webserver.deletion()
    for headers in (
        {},
        {"Origin": EVIL},
        {**CROSS_SITE, "Sec-Fetch-Dest": "image"},
        {"Host": "evil.example"},
    ):
        answer = httpx.get(
            f"{webserver.url}/graphql?query={quote(mutation)}", headers=headers, trust_env=False, verify=False
        )
        assert answer.status_code == 403, headers
    assert webserver.has(run_id)


@pytest.mark.parametrize(
    "disguise",
    [
        "query={0}&query={{version}}",
        "query={{version}}&query={0}",
        "query={0} query Q {{ version }}&operationName=Q",
        "query=query Q {{ version }} {0}",
        "query=%23 a comment%0A{0}",
        "query=fragment F on Query {{ version }} {0}",
    ],
)
def test_a_mutation_by_get_is_refused_however_it_is_wrapped(webserver: Webserver, disguise: str) -> None:
    run_id, mutation = webserver.deletion()
    parts = disguise.format(quote(mutation))
    answer = httpx.get(f"{webserver.url}/graphql?{parts}", trust_env=False, verify=False)
    assert answer.status_code == 403
    assert webserver.has(run_id)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "text/plain; application/json"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
    ids=str,
)
@pytest.mark.parametrize("in_the_address", [False, True])
def test_another_sites_post_deletes_nothing(
    webserver: Webserver, headers: dict[str, str], in_the_address: bool
) -> None:
    run_id, mutation = webserver.deletion()
    answer = httpx.post(
        f"{webserver.url}/graphql",
        params={"query": mutation} if in_the_address else None,
        content=json.dumps({"query": mutation}),
        headers={"Content-Type": "application/json", **headers},
        trust_env=False,
        verify=False,
    )
    assert answer.status_code == 403
    assert webserver.has(run_id)


@pytest.mark.parametrize("name", ["", "ui.example"])
def test_the_pages_own_requests_and_programs_are_served(webserver: Webserver, name: str) -> None:
    host = name or webserver.host
    for headers in ({}, {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}):
        run_id, mutation = webserver.deletion()
        answer = httpx.post(
            f"{webserver.url}/graphql",
            json={"query": mutation},
            headers={"Host": host, **headers},
            trust_env=False,
            verify=False,
        )
        assert answer.json()["data"]["deleteRun"]["__typename"] == "DeletePipelineRunSuccess"
        assert not webserver.has(run_id)


def test_a_query_by_get_is_answered(webserver: Webserver) -> None:
    answer = httpx.get(
        f"{webserver.url}/graphql", params={"query": "{ version }"}, trust_env=False, verify=False
    )
    assert answer.json()["data"]["version"]


@pytest.mark.parametrize("what", ["materialization", "observation", "check"])
def test_another_site_reports_nothing_of_an_asset(webserver: Webserver, what: str) -> None:
    url = f"{webserver.url}/report_asset_{what}/bets"
    for headers in ({"Origin": EVIL}, CROSS_SITE, {"Content-Type": "text/plain"}, {"Host": "evil.example"}):
        answer = httpx.post(
            url,
            headers={"Content-Type": "application/json", **headers},
            content="{}",
            trust_env=False,
            verify=False,
        )
        assert answer.status_code == 403
    assert webserver.instance.get_latest_materialization_event(dg.AssetKey("bets")) is None


def test_a_materialisation_may_be_reported_by_a_program(webserver: Webserver) -> None:
    answer = httpx.post(
        f"{webserver.url}/report_asset_materialization/reported", json={}, trust_env=False, verify=False
    )
    assert answer.is_success
    assert webserver.instance.get_latest_materialization_event(dg.AssetKey("reported")) is not None


def test_a_websocket_of_another_site_is_refused_and_the_pages_own_is_served(webserver: Webserver) -> None:
    address = f"ws://{webserver.host}/graphql"
    with pytest.raises(InvalidStatus, match="403"), connect(address, origin=Origin(EVIL), proxy=None):
        pass
    own_origin, protocols = Origin(webserver.url), [Subprotocol("graphql-ws")]
    with connect(address, origin=own_origin, subprotocols=protocols, proxy=None) as own:
        own.send(json.dumps({"type": "connection_init"}))
        assert json.loads(own.recv(10))["type"] == "connection_ack"


def test_a_link_to_the_ui_may_be_followed_and_no_page_may_frame_it(webserver: Webserver) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    answer = httpx.get(f"{webserver.url}/runs", headers=link, trust_env=False, verify=False)
    assert answer.is_success
    assert answer.headers["X-Frame-Options"] == "DENY"
    framed = httpx.get(
        f"{webserver.url}/runs", headers={**link, "Sec-Fetch-Dest": "iframe"}, trust_env=False, verify=False
    )
    assert framed.status_code == 403


def test_a_host_header_that_is_missing_or_twice_is_refused(webserver: Webserver) -> None:
    name, _, port = webserver.host.partition(":")
    for hosts in ("", f"Host: {webserver.host}\r\nHost: {webserver.host}\r\n"):
        with socket.create_connection((name, int(port)), timeout=10) as raw:
            raw.sendall(f"GET /server_info HTTP/1.0\r\n{hosts}\r\n".encode())
            status = raw.makefile("rb").readline()
        assert status.split()[1] in (b"400", b"403")
