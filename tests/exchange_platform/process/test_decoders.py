"""No two threads are the first to use a type: with msgspec that ends the process, without a word."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
OWN = ROOT / "exchange_platform" / "process" / "decoders.py"
MODULES = [
    file
    for folder in ("exchange_platform", "assets", "ops", "sensors", "resources", "deployments")
    for file in sorted((ROOT / folder).rglob("*.py"))
    if file != OWN
]
CRASH = """
import sys, threading
import msgspec
from exchange_platform.process.decoders import json_decoder

sys.setswitchinterval(1e-6)


def kind(number):
    inner = [
        msgspec.defstruct(f"Inner{number}_{place}", [(f"a{field}", int | None, None) for field in range(8)])
        for place in range(6)
    ]
    return msgspec.defstruct(f"Outer{number}", [(f"x{place}", dict[str, one]) for place, one in enumerate(inner)])


text = b"{" + b",".join(b'"x%d": {"q": {"a1": 1, "a7": 2}}' % place for place in range(6)) + b"}"
for number in range(300):
    decode = DECODING
    together = threading.Barrier(6)

    def run():
        together.wait()
        decode(text)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("alive")
"""


def run(decoding: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CRASH.replace("DECODING", decoding)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_decoders_are_used_for_the_first_time_by_many_threads_at_once() -> None:
    done = run("json_decoder(kind(number)).decode")
    assert (done.returncode, done.stdout) == (0, "alive\n")


@pytest.mark.long
def test_it_is_msgspec_itself_that_can_not_do_so() -> None:
    """When this fails, msgspec has learnt it, and process/decoders.py may go."""
    assert run("(lambda one: lambda text: msgspec.json.decode(text, type=one))(kind(number))").returncode < 0


def looked_over_late(tree: ast.AST) -> list[int]:
    """The lines of calls that have msgspec look a type over when they are made."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        typed = any(keyword.arg == "type" for keyword in node.keywords)
        if (
            called in ("msgspec.convert", "convert")
            or (called in ("msgspec.json.decode", "msgspec.msgpack.decode") and typed)
            or (called in ("msgspec.json.Decoder", "msgspec.msgpack.Decoder") and (node.args or typed))
        ):
            lines.append(node.lineno)
    return lines


def test_no_type_is_looked_over_where_threads_may_be() -> None:
    late = {
        str(file.relative_to(ROOT)): lines
        for file in MODULES
        if (lines := looked_over_late(ast.parse(file.read_text())))
    }
    assert late == {}
