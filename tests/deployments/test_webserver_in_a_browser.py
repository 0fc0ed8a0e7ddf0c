"""The Dagster UI works behind its guard in headless Chromium, and a page of another site deletes nothing
through it.

CI installs Chromium (.ci/run). Without one these tests skip.
"""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect

from tests.deployments.test_webserver import Webserver, webserver
from tests.exchange_platform.api.test_browser import browser

__all__ = ["browser", "webserver"]

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

PAGE = """<img src="{ui}/graphql?query={query}">
<form id="form" method="post" enctype="text/plain" target="frame" action="{ui}/graphql?query={query}"><input name="a"></form>
<iframe name="frame"></iframe>
<script>
  const asked = [
    fetch("{ui}/graphql", {{method: "POST", mode: "no-cors", body: JSON.stringify({{query: decodeURIComponent("{query}")}})}}),
    fetch("{ui}/graphql?query={query}", {{mode: "no-cors"}}),
    new Promise((done) => {{ const socket = new WebSocket("{socket}/graphql"); socket.onopen = () => done("opened"); socket.onerror = done; }}),
  ];
  document.getElementById("form").submit();
  Promise.allSettled(asked).then((ends) => {{ document.title = ends[2].value === "opened" ? "opened" : "done"; }});
</script>"""


@pytest.fixture
def evil(webserver: Webserver) -> Iterator[tuple[str, str]]:
    """The address of a page of another site (another port of this machine), and the run that it wants to
    delete.
    """
    run_id, mutation = webserver.deletion()
    page = PAGE.format(
        ui=webserver.url, socket=webserver.url.replace("http", "ws"), query=quote(mutation, safe="")
    )

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://localhost:{server.server_port}/", run_id
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_ui_shows_an_operator_a_run(browser: Browser, webserver: Webserver) -> None:
    run_id, _ = webserver.deletion()
    context = browser.new_context()
    page = context.new_page()
    refused: list[str] = []
    page.on("response", lambda answer: refused.append(answer.url) if answer.status == 403 else None)
    page.goto(f"{webserver.url}/runs")
    expect(page.get_by_text(run_id[:8]).first).to_be_visible(timeout=60_000)
    assert refused == []
    context.close()


def test_a_page_of_another_site_deletes_nothing(
    browser: Browser, webserver: Webserver, evil: tuple[str, str]
) -> None:
    url, run_id = evil
    context = browser.new_context()
    page = context.new_page()
    with page.expect_response(
        lambda answer: answer.request.method == "POST" and answer.request.is_navigation_request()
    ):
        page.goto(url)
    page.wait_for_function("document.title !== ''")
    assert page.title() == "done"
    assert webserver.has(run_id)
    context.close()
