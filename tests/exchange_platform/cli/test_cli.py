"""What the command line answers to nonsense, to nothing, and to a question."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from exchange_platform.cli import run
from exchange_platform.cli.output import visible_bytes
from exchange_platform.settings import Settings
from exchange_platform.stores.checkpoints import Advance
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.consumers.consumers import Checkpoints
from exchange_platform.stores.operational.consumers.lost_spans import Loss, LostSpans
from exchange_platform.stores.operational.database import Database, dead_letters
from tests.support.prepared import prepare

NONSENSE = [
    (["up", "--rate", "-1"], "allowed is more than 0, up to 2000"),
    (["up", "--rate", "nan"], "'nan' is not a number"),
    (["up", "--rate", "inf"], "'inf' is not a number"),
    (["up", "--rate", "fast"], "'fast' is not a number"),
    (["up", "--rate", "2001"], "up to 2000"),
    (["up", "--rate", "10", "--exchange", "none"], "--exchange none starts none"),
    (["up", "--port", "99999"], "allowed is 1 to 65535"),
    (["up", "--port", "0"], "allowed is 1 to 65535"),
    (["up", "--port", "http"], "allowed is 1 to 65535"),
    (["up", "--for", "0"], "allowed is 1 to 604800"),
    (["up", "--for", "-5"], "allowed is 1 to 604800"),
    (["up", "--exchange", "betfair"], "'simulated', 'none'"),
    (["up", "--data-dir", sys.executable], "is a file; name a directory"),
    (["up", "--data-dir", ""], "the name is empty"),
    (["up", "now"], "unexpected extra argument"),
    (["replay"], "Missing argument 'FILE...'"),
    (["replay", "no-such-file.bz2"], "no-such-file.bz2: no such file or directory"),
    (["replay", "/"], "is a directory"),
    (["replay", sys.executable, "--speed", "fast"], "allowed is 'max' or a number more than 0"),
    (["replay", sys.executable, "--speed", "0"], "allowed is 'max' or a number more than 0"),
    (["replay", sys.executable, "--speed", "nan"], "allowed is 'max' or a number more than 0"),
    (["sql"], "Missing argument 'QUERY'"),
    (["sql", "select '\udcff'"], "it is no UTF-8 text"),
    (["sql", "select 1", "--format", "xml"], "'table', 'csv', 'json'"),
    (["dead-letters", "show", "abc"], "is not a dead letter's id"),
    (["dead-letters", "show", "-1"], "No such option"),
    (["dead-letters", "list", "--limit", "0"], "allowed is 1 to 100000"),
    (["dead-letters", "replay"], "or say --all"),
    (["dead-letters", "replay", "1", "--all"], "or say --all"),
    (["lost-spans", "acknowledge"], "or say --all"),
    (["lost-spans", "acknowledge", "1", "--all"], "or say --all"),
    (["lost-spans", "acknowledge", "0"], "is not a lost span's id"),
    (["lost-spans", "acknowledge", "1", "--note", "a\nb"], "one line of 1 to 500 characters"),
    (["lost-spans", "read-again", "exchange-bets"], "Missing argument 'SHARD'"),
    (["nonsense"], "No such command 'nonsense'"),
    (["status", "--jsn"], "No such option"),
]


@pytest.mark.parametrize(("arguments", "said"), NONSENSE, ids=[" ".join(one)[:40] for one, _ in NONSENSE])
def test_nonsense_is_refused_in_one_line_that_says_what_is_allowed(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert "--help" in captured.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["status", "--json"],
        ["sql", "select 1"],
        ["dead-letters", "list"],
        ["dead-letters", "show", "1"],
        ["dead-letters", "replay", "--all"],
        ["lost-spans", "list"],
        ["lost-spans", "acknowledge", "--all"],
        ["lost-spans", "read-again", "exchange-bets", "shardId-000000000000@1"],
        ["replay", sys.executable],
    ],
)
def test_where_there_is_no_platform_the_way_to_one_is_said_and_nothing_is_made(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = tmp_path / "nowhere"
    assert run([*arguments, "--data-dir", str(nowhere)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "exchange-platform " in captured.err.partition(": ")[2]
    assert not nowhere.exists()


@pytest.mark.parametrize("arguments", [["--help"], [], ["up", "--help"], ["dead-letters", "--help"]])
def test_help_is_no_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    assert "Usage: exchange-platform" in capsys.readouterr().out


def test_help_does_not_wait_for_the_stores() -> None:
    program = (
        "import sys; from exchange_platform.cli import run; run(['--help']);"
        "sys.exit(any(name in sys.modules for name in ('duckdb', 'boto3', 'sqlalchemy', 'dagster')))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


def test_an_unexpected_error_is_one_line_and_its_traceback_is_for_who_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("exchange_platform.settings.load_settings", broken)
    assert run(["migrate", "--data-dir", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert (
        said == "exchange-platform: RuntimeError: two lines (with EXCHANGE_PLATFORM_DEBUG=1 you see where)\n"
    )
    monkeypatch.setenv("EXCHANGE_PLATFORM_DEBUG", "1")
    with pytest.raises(RuntimeError):
        run(["migrate", "--data-dir", str(tmp_path)])


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with empty stores."""
    data_dir = tmp_path_factory.mktemp("migrated") / "data"
    assert run(["migrate", "--data-dir", str(data_dir)]) == 0
    return data_dir


QUERY = "select 1.50::decimal(18,3) as stake, timestamptz '2026-11-24 10:05:00+00' as at, 'a,\"b\"' as text, null as nothing, true as yes"


def test_csv_has_a_header_and_exact_values(migrated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sql", QUERY, "--format", "csv", "--data-dir", str(migrated)]) == 0
    header, row = csv.reader(io.StringIO(capsys.readouterr().out))
    assert header == ["stake", "at", "text", "nothing", "yes"]
    assert row == ["1.500", "2026-11-24T10:05:00Z", 'a,"b"', "", "true"]


def test_a_csv_without_rows_has_its_header(migrated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sql", "select * from odds_windows", "--format", "csv", "--data-dir", str(migrated)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("market_id,selection_id,handicap,window_start,executions,")
    assert out.count("\n") == 1


def test_json_rows_are_objects_with_every_digit(migrated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sql", QUERY, "--format", "json", "--data-dir", str(migrated)]) == 0
    out = capsys.readouterr().out
    assert '"stake":1.500,' in out
    assert json.loads(out) == [
        {"stake": 1.5, "at": "2026-11-24T10:05:00Z", "text": 'a,"b"', "nothing": None, "yes": True}
    ]
    assert run(["sql", "select 1 where false", "--format", "json", "--data-dir", str(migrated)]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("selec 1", "syntax error"),
        ("select * from nothing", "nothing does not exist"),
        ("select 1; select 2", "one statement is allowed"),
        ("", "one statement is allowed"),
        ("delete from executions", "DELETE is refused"),
    ],
)
def test_a_query_that_the_lake_refuses_is_told_in_one_line(
    query: str, said: str, migrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sql", query, "--data-dir", str(migrated)]) == 1
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error(migrated: Path) -> None:
    command = f"{sys.executable} -m exchange_platform sql 'select * from range(1000000)' --format csv --data-dir {migrated} | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("range\n", "", 0)


def test_status_of_empty_stores_is_complete(migrated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--json", "--data-dir", str(migrated)]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["caught_up"] is False
    assert status["dead_letters"] == 0
    assert status["restatements"] == 0
    assert status["windows"] == {"open": 0, "closed": 0}
    assert [source["source"] for source in status["sources"]] == ["exchange-bets", "exchange-feed"]
    for source in status["sources"]:
        assert {"source", "shard", "epoch", "position", "lag_ms", "records", "heartbeat_age_s"} <= set(source)
    assert run(["status", "--data-dir", str(migrated)]) == 0
    assert "no consumer" in capsys.readouterr().out


def test_doctor_finds_idle_stores_well(migrated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json", "--data-dir", str(migrated)]) == 0
    diagnosis = json.loads(capsys.readouterr().out)
    assert diagnosis["well"] is True
    assert {
        "python",
        "packages",
        "data directory",
        "platform",
        "operational database",
        "lake",
        "event index",
    } <= {check["part"] for check in diagnosis["checks"]}


def test_doctor_says_what_is_wrong_and_how_to_mend_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "operational.sqlite").write_bytes(b"this is no database" * 100)
    assert run(["doctor", "--data-dir", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "WRONG operational database" in said
    assert "WRONG lake" in said
    assert "exchange-platform migrate" in said


HOSTILE = b'{"kind":"\x1b]0;owned\x07\x1b[2J","note":"\xe2\x80\xaetxt.exe","bad":"\xff\xfe"}'


def test_a_dead_letters_bytes_can_not_command_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(data_dir=tmp_path)
    prepare(settings)
    database = Database(settings.operational_database_url)
    with database.write() as connection:
        connection.execute(
            dead_letters.insert().values(
                source="exchange-bets",
                shard="shardId-000000000000@1",
                position="7",
                part=0,
                stage="decode",
                reason="unknown kind '\x1b[31m'",
                data=HOSTILE,
                partition_key="1.2",
                arrived_at_us=1_800_000_000_000_000,
                dead_at_us=1_800_000_000_000_001,
            )
        )
    database.dispose()
    for arguments in (["list"], ["show", "1"], ["list", "--json"], ["show", "1", "--json"]):
        assert run(["dead-letters", *arguments, "--data-dir", str(tmp_path)]) == 0
        out = capsys.readouterr().out
        assert not any(char in out for char in "\x1b\x07\u202e")
        assert "unknown kind" in out
    assert run(["dead-letters", "show", "2", "--data-dir", str(tmp_path)]) == 1
    assert "there is no dead letter 2" in capsys.readouterr().err


def test_lost_spans_are_listed_acknowledged_and_counted_in_the_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ["--data-dir", str(tmp_path)]
    prepare(Settings(data_dir=tmp_path))
    database = Database(Settings(data_dir=tmp_path).operational_database_url)
    loss = Loss(
        "exchange-bets", "shardId-000000000000@1", "7", None, None, 1_800_000_000_000_000, None, "gone"
    )
    LostSpans(database).record(loss, now_us=1_800_000_000_000_001)
    database.dispose()
    assert run(["lost-spans", "list", *here]) == 0
    out = capsys.readouterr().out
    assert "gone" in out
    assert "1 stand" in out
    assert run(["status", "--json", *here]) == 0
    assert json.loads(capsys.readouterr().out)["lost_spans"] == 1
    assert run(["lost-spans", "acknowledge", "2", *here]) == 1
    assert "none of 2 stands" in capsys.readouterr().err
    assert run(["lost-spans", "acknowledge", "1", "--note", "published again", *here]) == 0
    capsys.readouterr()
    assert run(["lost-spans", "list", "--json", *here]) == 0
    assert json.loads(capsys.readouterr().out) == {"standing": 0, "lost_spans": []}
    assert run(["lost-spans", "list", "--all", "--json", *here]) == 0
    (told,) = json.loads(capsys.readouterr().out)["lost_spans"]
    assert (told["id"], told["after"], told["before"], told["records"]) == (1, "7", None, None)
    assert (told["until"], told["from"], told["note"]) == ("2027-01-15T08:00:00Z", None, "published again")


def test_a_shard_is_set_back_in_every_store_and_what_that_may_have_lost_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, shard = Settings(data_dir=tmp_path), "shardId-000000000000@1"
    prepare(settings)
    database = Database(settings.operational_database_url)
    lake = Lake.from_settings(settings)
    held = {name: Checkpoints(database, name) for name in ("operational_database", "profile_view")}
    for checkpoints in held.values():
        checkpoints.claim("exchange-bets", 3, [shard], now_us=1)
        with database.write() as connection:
            checkpoints.advance(connection, "exchange-bets", 3, [Advance(shard, None, "99")], now_us=1)
    lake.claim("exchange-bets", 3, [shard])
    lake.commit("exchange-bets", 3, [Advance(shard, None, "99")], [], [])
    for _ in range(2):
        assert run(["lost-spans", "read-again", "exchange-bets", shard, "--data-dir", str(tmp_path)]) == 0
        assert "read from the oldest record" in capsys.readouterr().out
    assert [checkpoints.positions("exchange-bets")[shard] for checkpoints in held.values()] == [None, None]
    assert lake.claim("exchange-bets", 3, [shard]) == {shard: None}
    assert [(span.loss.after, span.loss.before) for span in LostSpans(database).list()] == [("99", None)]
    assert run(["lost-spans", "read-again", "exchange-bets", "no-shard", "--data-dir", str(tmp_path)]) == 1
    assert "no store holds a position of shard no-shard" in capsys.readouterr().err
    lake.close()
    database.dispose()


def test_bytes_are_shown_with_nothing_lost() -> None:
    assert visible_bytes(HOSTILE) == (
        '{"kind":"\\x1b]0;owned\\x07\\x1b[2J","note":"\\u202etxt.exe","bad":"\\xff\\xfe"}'
    )
