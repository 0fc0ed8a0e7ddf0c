"""The programs of the platform on one machine, and what each is started with. Not here: starting them
(processes.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exchange_platform.confirmation.feedback_channel import FEEDBACK
from exchange_platform.local.orphans import DATA_DIR, UP_ID
from exchange_platform.process.aws_clients import EMULATOR_ACCESS_KEY

HOST = "127.0.0.1"
CODE_MODULE = "deployments.local"
CODE_LOCATION = "exchange-platform"
"""What `workspace.yaml` calls it, too: sensors keep their state by this name."""
_PYTHON = "EXCHANGE_PLATFORM_PYTHON"
_CHILD = "EXCHANGE_PLATFORM_CHILD"
CHECKOUT = "EXCHANGE_PLATFORM_CHECKOUT"
_CODE_SOCKET = "EXCHANGE_PLATFORM_CODE_SOCKET"
_SOCKET_DIRECTORY = "exchange-platform-"
_MAX_SOCKET_PATH = 100
"""A socket's path has at most 107 bytes; gRPC needs some of them."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the programs listen, all on 127.0.0.1."""

    pages: int
    emulator: int
    api: int
    exchange: int


@dataclass(frozen=True, slots=True)
class Program:
    """One program: `arguments` for Python, begun only once something listens on `await_port`, or the code
    server on its socket.

    `stage` orders starting (ascending) and stopping (descending); `stop_s` is how long it may take to stop;
    the greater `spare`, the sooner the kernel kills it when memory is short (child.py).
    """

    name: str
    arguments: str
    stage: int
    stop_s: int = 5
    await_port: int | None = None
    await_code_server: bool = False
    spare: int = 300

    def section(self) -> str:
        """The program's part of supervisord's configuration.

        Paths come from the environment: supervisord takes a configuration line apart at ` ;` and `%`. A
        program that dies within `startsecs` is started again a second later with each death in a row; one
        that lived longer, at once.
        """
        waiting = f"--await-port {self.await_port} " if self.await_port else ""
        if self.await_code_server:
            waiting = f'--await-socket "%(ENV_{_CODE_SOCKET})s" '
        waiting = f"--spare {self.spare} {waiting}"
        python = f'"%(ENV_{_PYTHON})s"'
        return f"""
[program:{self.name}]
command={python} -S -E "%(ENV_{_CHILD})s" {waiting}{python} {self.arguments}
directory=%(ENV_{CHECKOUT})s
priority={self.stage}
autostart=true
autorestart=true
startsecs=10
startretries=1000000
stopsignal=TERM
stopwaitsecs={self.stop_s}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile=../logs/{self.name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
"""


def local_programs(ports: Ports, *, exchange_rate: float | None) -> list[Program]:
    """What `up` starts; `exchange_rate` is the simulated exchange's, None without one.

    Daemon and webserver share one code server: each would start its own otherwise, and these are 2 cores.
    """
    directory = f'--data-dir "%(ENV_{DATA_DIR})s"'
    programs = [
        Program(
            "emulator",
            f"-m exchange_platform.local.emulator.server --port {ports.emulator} {directory}",
            stage=10,
            spare=100,  # its memory is the streams
        ),
        Program(
            "code-server",
            # A socket in a directory of our own: whoever reaches the code server may run code in it, and shut
            # it down.
            f'-m dagster api grpc -m {CODE_MODULE} --socket "%(ENV_{_CODE_SOCKET})s"'
            f" --location-name {CODE_LOCATION} --inject-env-vars-from-instance",
            stage=20,
            stop_s=6,
        ),
        Program(
            "dagster-daemon",
            '-m dagster._daemon run -w "%(ENV_DAGSTER_HOME)s/workspace.yaml"',
            stage=20,
            await_code_server=True,
        ),
        Program(
            "dagster-webserver",
            f'-m deployments.webserver -h {HOST} -p {ports.pages} -w "%(ENV_DAGSTER_HOME)s/workspace.yaml"',
            stage=20,
            await_code_server=True,
        ),
        Program(
            "api",
            f"-m exchange_platform.api --host {HOST} --port {ports.api} {directory}",
            stage=30,
            await_port=ports.emulator,
        ),
    ]
    programs.append(
        Program(
            "exchange-gateway",
            f"-m exchange_platform.exchanges.gateway --port {ports.exchange} {directory}",
            stage=30,
        )
    )
    if exchange_rate is not None:
        programs.append(
            Program(
                "exchange",
                f"-m exchange_platform.exchanges.simulated {directory} --rate {exchange_rate:g}",
                stage=40,
                await_port=ports.emulator,
            )
        )
    return programs


def environment(
    given: Mapping[str, str],
    *,
    data_dir: Path,
    checkout: Path,
    up_id: str,
    ports: Ports,
    api_token: str,
    emulator_key: str,
    code_socket: Path,
    exchange_key: str,
) -> dict[str, str]:
    """The environment of every program: the caller's, without what would slow it or lead it out of this
    machine.
    """
    own = {
        name: value
        for name, value in given.items()
        if not name.startswith(("AWS_", "DAGSTER_", "SUPERVISOR_"))
        and name not in ("PYTHONDONTWRITEBYTECODE", "PYTHONSTARTUP", "PYTHONINSPECT")
    }
    local = ",".join(filter(None, [own.get("no_proxy", own.get("NO_PROXY", "")), HOST, "localhost"]))
    return own | {
        UP_ID: up_id,
        DATA_DIR: str(data_dir),
        _PYTHON: sys.executable,
        _CHILD: str(Path(__file__).with_name("child.py")),
        CHECKOUT: str(checkout),
        _CODE_SOCKET: str(code_socket),
        "EXCHANGE_PLATFORM_EMULATOR_KEY": emulator_key,
        "EXCHANGE_PLATFORM_AWS_ENDPOINT_URL": f"http://{HOST}:{ports.emulator}",
        "EXCHANGE_PLATFORM_EXCHANGE_URL": exchange_url(ports),
        "EXCHANGE_PLATFORM_EXCHANGE_KEY": exchange_key,
        "EXCHANGE_PLATFORM_API_TOKENS": ",".join(
            filter(None, [api_token, own.get("EXCHANGE_PLATFORM_API_TOKENS", "")])
        ),
        "EXCHANGE_PLATFORM_PUBLIC_URL": own.get("EXCHANGE_PLATFORM_PUBLIC_URL") or api_url(ports),
        "EXCHANGE_PLATFORM_MAIL_FEEDBACK_QUEUE": own.get("EXCHANGE_PLATFORM_MAIL_FEEDBACK_QUEUE", FEEDBACK),
        "EXCHANGE_PLATFORM_MAIL_FEEDBACK_TOPIC": own.get("EXCHANGE_PLATFORM_MAIL_FEEDBACK_TOPIC", FEEDBACK),
        # The emulator's: nothing here may reach a real account.
        "AWS_ACCESS_KEY_ID": EMULATOR_ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": emulator_key,
        "AWS_DEFAULT_REGION": own.get("EXCHANGE_PLATFORM_AWS_REGION", "eu-west-1"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "DAGSTER_HOME": str(data_dir / "dagster"),
        "NO_PROXY": local,
        "no_proxy": local,
        "PYTHONUNBUFFERED": "1",
        # Several threads' arenas would each keep what they once needed.
        "MALLOC_ARENA_MAX": "2",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
    }


def api_url(ports: Ports) -> str:
    """Where the API answers."""
    return f"http://{HOST}:{ports.api}"


def exchange_url(ports: Ports) -> str:
    """Where the exchange's gateway answers."""
    return f"http://{HOST}:{ports.exchange}"


def code_socket(data_dir: Path) -> Path:
    """Where the code server listens, in a directory of its owner's alone.

    That lies in the data directory, or, where its path is too long, is a new temporary one.
    """
    path = data_dir / "run" / "code-server.sock"
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        return path
    room = tempfile.gettempdir()
    if len(os.fsencode(room)) + len(_SOCKET_DIRECTORY) + len(path.name) + 12 > _MAX_SOCKET_PATH:
        room = "/tmp"  # noqa: S108 (the directory below is made for us alone)
    return Path(tempfile.mkdtemp(prefix=_SOCKET_DIRECTORY, dir=room)) / path.name


def remove_code_socket(path: Path, data_dir: Path) -> None:
    """Remove the socket, and the directory that was made for it, if it was."""
    path.unlink(missing_ok=True)
    if path.parent != data_dir / "run" and path.parent.name.startswith(_SOCKET_DIRECTORY):
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def write_dagster_home(data_dir: Path, checkout: Path, code_server: Path) -> None:
    """Give Dagster its home: the deployment's own `dagster.yaml`, and a workspace that names the shared code
    server.
    """
    home = data_dir / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(checkout / "deployments" / "dagster.yaml", home / "dagster.yaml")
    (home / "workspace.yaml").write_text(
        "load_from:\n"
        "  - grpc_server:\n"
        f"      socket: {json.dumps(str(code_server))}\n"
        f"      location_name: {CODE_LOCATION}\n"
    )


def free_ports(count: int) -> list[int]:
    """So many different ports that nothing listens on now."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:port now."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((HOST, port))
        except OSError:
            return False
    return True
