"""One platform a data directory, known to other commands by what it wrote."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
import yaml

from exchange_platform.local.programs import (
    Ports,
    code_socket,
    free_ports,
    is_free,
    local_programs,
    remove_code_socket,
    write_dagster_home,
)
from exchange_platform.local.running import (
    AlreadyRunning,
    CannotStart,
    NotRunning,
    data_dir_held,
    is_running,
    remove_platform_file,
    require_stream,
    write_platform_file,
)
from exchange_platform.settings import PLATFORM_FILE, Settings, load_settings


def content(pid: int) -> dict[str, object]:
    return {
        "pid": pid,
        "aws_endpoint_url": "http://127.0.0.1:4999",
        "dagster_url": "http://127.0.0.1:3999",
    }


def test_a_second_platform_on_the_same_data_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    with data_dir_held(tmp_path):
        write_platform_file(tmp_path, content(os.getpid()))
        assert is_running(tmp_path)
        with pytest.raises(AlreadyRunning) as refused, data_dir_held(tmp_path):
            pass
    assert str(os.getpid()) in str(refused.value)
    assert "http://127.0.0.1:3999" in str(refused.value)


def test_a_data_directory_is_free_again_after_its_platform(tmp_path: Path) -> None:
    with data_dir_held(tmp_path):
        write_platform_file(tmp_path, content(os.getpid()))
        remove_platform_file(tmp_path)
    assert not is_running(tmp_path)
    with data_dir_held(tmp_path):
        pass


def test_a_killed_platform_does_not_run_whatever_it_wrote(tmp_path: Path) -> None:
    with data_dir_held(tmp_path):
        pass
    write_platform_file(tmp_path, content(2**22 - 1))
    assert not is_running(tmp_path)
    with pytest.raises(NotRunning, match="exchange-platform up --exchange none"):
        require_stream(load_settings(tmp_path))


def test_a_stream_that_was_named_is_trusted(tmp_path: Path) -> None:
    require_stream(Settings(data_dir=tmp_path, aws_endpoint_url="http://127.0.0.1:4566"))


def test_what_it_writes_is_for_its_owner_only_and_read_by_the_settings(tmp_path: Path) -> None:
    write_platform_file(tmp_path, content(os.getpid()))
    assert stat.S_IMODE((tmp_path / PLATFORM_FILE).stat().st_mode) == 0o600
    assert load_settings(tmp_path).aws_endpoint_url == "http://127.0.0.1:4999"


def test_a_data_directory_that_can_not_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match="can't be written"), data_dir_held(tmp_path / "file" / "data"):
        pass


def test_free_ports_are_free_and_taken_ones_are_not() -> None:
    first, second = free_ports(2)
    assert first != second
    with socket.socket() as server:
        server.bind(("127.0.0.1", first))
        server.listen()
        assert not is_free(first)
        assert is_free(second)


def test_the_code_servers_socket_lies_in_a_private_directory_whatever_the_data_directorys_length(
    tmp_path: Path,
) -> None:
    """On a TCP port whoever reached it could shut the code server down."""
    deep = tmp_path / ("a name " * 20)
    for data_dir in (tmp_path / "data", deep):
        path = code_socket(data_dir)
        assert len(str(path)) <= 107
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
        remove_code_socket(path, data_dir)
        assert not path.exists()
        assert path.parent.exists() == (data_dir != deep)


def test_dagster_is_given_the_socket_and_no_port(tmp_path: Path) -> None:
    checkout = Path(__file__).parents[3]
    write_dagster_home(tmp_path, checkout, Path("/run/a 'name': #1/code.sock"))
    location = yaml.safe_load((tmp_path / "dagster" / "workspace.yaml").read_text())["load_from"][0]
    assert location["grpc_server"] == {
        "socket": "/run/a 'name': #1/code.sock",
        "location_name": "exchange-platform",
    }
    sections = "".join(program.section() for program in local_programs(Ports(1, 2, 3, 4), exchange_rate=None))
    assert "grpc -m deployments.local --socket" in sections
