"""What a consumer run imports: each run pays for it in memory, and several live side by side."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]

NOT_FOR_CONSUMERS = {
    *("pandas", "pyarrow", "numpy", "polars"),  # DuckDB imports the first three by itself where it may
    *("fastapi", "starlette", "uvicorn", "mangum", "jinja2"),  # the API's, a process of its own
    *("tantivy", "elasticsearch"),  # the event index's, whose own consumer loads them
    *("moto", "werkzeug", "flask", "supervisor", "rich", "typer"),  # local processes, the command line
    *("alembic", "mako", "graphene", "grpc", "pytest"),
}

CONSUME = """
import sys
from datetime import UTC, datetime
from pathlib import Path

import deployments.local
from exchange_platform.process.memory import without_data_frames
from exchange_platform.settings import Settings
from exchange_platform.stores.checkpoints import Advance
from exchange_platform.stores.lake import Lake
from exchange_platform.streams.exchange_bets import EXCHANGE_BETS, build_consumer
from exchange_platform.domain.records import Execution
from tests.support.workload import matched_pairs

settings = Settings(data_dir=Path(sys.argv[1]), aws_endpoint_url="http://127.0.0.1:1")
with without_data_frames():
    build_consumer(settings, run_id="a-run")
    lake = Lake.from_settings(settings)
    lake.migrate()
    lake.claim(EXCHANGE_BETS, 1, ["a-shard"])
    records = list(matched_pairs(10))
    executions = [record for record in records if isinstance(record, Execution)]
    bets = [record for record in records if not isinstance(record, Execution)]
    for repeat, (expected, position) in enumerate([(None, "1"), ("1", "2")]):
        done = lake.commit(EXCHANGE_BETS, 1, [Advance("a-shard", expected, position)], executions, bets)
        assert done.repeats == repeat * len(records), done
    closed = lake.close_windows(EXCHANGE_BETS, 1, {market: None for market, _ in lake.open_windows()})
    assert sum(day.closed for day in closed) > 0
    lake.maintain()
    lake.close()
    print(*{name.split(".")[0] for name, module in sys.modules.items() if module is not None})
"""


CONSUME_FEED = """
import sys
from pathlib import Path

import deployments.local
from exchange_platform.process.memory import without_data_frames
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database, metadata
from exchange_platform.streams.exchange_feed import build_consumer

settings = Settings(data_dir=Path(sys.argv[1]), exchange_url="http://127.0.0.1:1")
database = Database(settings.operational_database_url)
metadata.create_all(database.engine)
with without_data_frames():
    for report in build_consumer(settings, run_id="a-run", duration_s=0.5).run():
        assert report.final
    print(*{name.split(".")[0] for name, module in sys.modules.items() if module is not None})
"""


def imported_by(code: str, directory: Path) -> set[str]:
    """The packages that a process has imported after this."""
    done = subprocess.run(
        [sys.executable, "-c", code, str(directory)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_a_consumer_run_imports_nothing_that_it_can_do_without(tmp_path: Path) -> None:
    imported = imported_by(CONSUME, tmp_path)
    assert {"dagster", "duckdb", "nanoarrow"} <= imported
    assert imported & NOT_FOR_CONSUMERS == set()


@pytest.mark.long
def test_the_feed_s_run_imports_its_index_and_nothing_else_that_it_can_do_without(tmp_path: Path) -> None:
    imported = imported_by(CONSUME_FEED, tmp_path)
    assert {"dagster", "httpx", "tantivy"} <= imported
    assert imported & NOT_FOR_CONSUMERS == {"tantivy"}


def test_data_frames_may_be_imported_again_afterwards() -> None:
    code = (
        "from exchange_platform.process.memory import without_data_frames\n"
        "with without_data_frames():\n"
        "    try:\n"
        "        import numpy\n"
        "    except ModuleNotFoundError: print('refused')\n"
        "import numpy; print('imported')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused", "imported"]
