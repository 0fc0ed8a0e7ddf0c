"""Builds the zip of the API on Lambda: what the API needs and nothing else, the same bytes each time. `make
lambda`.

`python -m deployments.lambda_zip [--python 3.12] [--output FILE]`. The packages are those of
requirements.lock, by their hashes, as wheels for Lambda's system. Not here: the handler
(exchange_platform/api/lambda_handler.py).
"""

from __future__ import annotations

import argparse
import io
import lzma
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).parent.parent
PLATFORM = "x86_64-manylinux_2_28"
"""Amazon Linux 2023, which Lambda's Python 3.12 and 3.13 run on, has glibc 2.34."""
DEFAULT_PYTHON = "3.12"
MAX_BYTES = 50 * 1000**2

EXTRAS = ("api", "search")
LEFT_OUT = frozenset(
    {
        "duckdb-extension-sqlite-scanner",  # the embedded lake's catalog
        "duckdb-extensions",  # the lake loads them by their files
        "pyarrow",  # for whoever asks the lake with SQL
        "rich",  # the command line
        "sortedcontainers",  # the simulated exchange
        "tantivy",  # the embedded event index
        "typer",
        "uvicorn",  # Lambda serves
    }
)
PARTS_LEFT_OUT = ("cli", "exchanges", "local", "__main__.py", "py.typed")
AWS_SERVICES = ("dynamodb", "kinesis", "secretsmanager", "sns", "sqs", "sesv2", "sts")
_PACKED = re.compile(r"(duckdb/|_duckdb\.|duckdb_extension_\w+/).*")
"""DuckDB and its extensions: packed together (exchange_platform/stores/lake/packed_duckdb.py)."""
_DENSE = [
    {"id": lzma.FILTER_X86},
    {"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": 192 * 1024**2},
]
_EPOCH = (1980, 1, 1, 0, 0, 0)
_METADATA_KEPT = re.compile(
    r"METADATA|entry_points\.txt|(.*/)?(LICEN[CS]E|COPYING|NOTICE|AUTHORS)[^/]*", re.IGNORECASE
)
_DROPPED = re.compile(
    r"(^|/)(__pycache__|tests?|testing|bin|examples|_pytest)/|\.(pyc|pyi|pyx|pxd|c|h|cpp|typed)$"
    r"|^(boto3|botocore)/.*\.(md|rst)$|^fastapi/_?cli\.py$"
)


def needed_packages() -> list[str]:
    """The distributions that the API imports from, by what each says that it requires, in canonical names."""
    found: set[str] = set()
    waiting: list[tuple[str, tuple[str, ...]]] = [("exchange-platform", EXTRAS)]
    while waiting:
        name, extras = waiting.pop()
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            wanted = canonicalize_name(requirement.name)
            applies = requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            )
            if applies and wanted not in found and wanted not in LEFT_OUT:
                found.add(wanted)
                waiting.append((wanted, tuple(requirement.extras)))
    return sorted(found)


def locked(names: list[str]) -> str:
    """The lines of requirements.lock of these packages, hashes and all. Raises `LookupError` for one that is
    not there.
    """
    entries: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", (CHECKOUT / "requirements.lock").read_text()):
        if named := re.match(r"([A-Za-z0-9._-]+)(\[[^]]*\])?==", entry):
            entries[canonicalize_name(named[1])] = entry
    missing = [name for name in names if name not in entries]
    if missing:
        raise LookupError(f"requirements.lock has no {', '.join(missing)}: run `make lock`")
    return "\n".join(entries[name] for name in names) + "\n"


def install(target: Path, python: str) -> None:
    """Install the locked packages for Lambda's system into a directory."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
        wanted.write(locked(needed_packages()))
        wanted.flush()
        subprocess.run(
            [
                *(
                    str(Path(sys.executable).parent / "uv"),
                    "--system-certs",
                    "--no-progress",
                    "pip",
                    "install",
                    "--quiet",
                ),
                *("--target", str(target), "--no-deps", "--require-hashes", "--only-binary", ":all:"),
                *("--python-version", python, "--python-platform", PLATFORM, "--link-mode", "copy"),
                *("-r", wanted.name),
            ],
            check=True,
        )


def is_kept(name: str) -> bool:
    """Whether a file of the installed packages belongs into the zip."""
    top, _, rest = name.partition("/")
    if top.endswith(".dist-info"):
        return bool(_METADATA_KEPT.fullmatch(rest))
    if _DROPPED.search(name):
        return False
    if name.startswith(("botocore/data/", "boto3/data/")) and "/" in name.split("/data/")[1]:
        return name.split("/data/")[1].split("/")[0] in AWS_SERVICES
    return not name.startswith(("boto3/examples/", "."))


def contents(installed: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of the zip: (name, bytes)."""
    apart: dict[str, Path] = {}
    for path in installed.rglob("*"):
        name = path.relative_to(installed).as_posix()
        if not path.is_file() or not is_kept(name):
            continue
        if _PACKED.fullmatch(name):
            apart[name] = path
        else:
            yield name, path.read_bytes()
    yield "exchange_platform/stores/lake/duckdb.tar.xz", packed(apart)
    package = CHECKOUT / "exchange_platform"
    for path in package.rglob("*"):
        inside = path.relative_to(package).as_posix()
        if path.is_file() and inside.split("/")[0] not in PARTS_LEFT_OUT and "__pycache__" not in inside:
            yield f"exchange_platform/{inside}", path.read_bytes()
    version = metadata.version("exchange-platform")
    about = f"Metadata-Version: 2.1\nName: exchange-platform\nVersion: {version}\n"
    yield f"exchange_platform-{version}.dist-info/METADATA", about.encode()


def packed(files: Mapping[str, Path]) -> bytes:
    """A tar of the files, compressed with a dictionary that holds all of it, as they repeat each other."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        # By size: what is alike lies side by side.
        for name, path in sorted(files.items(), key=lambda item: (item[1].stat().st_size, item[0])):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = path.stat().st_size, 0o644
            with path.open("rb") as content:
                archive.addfile(entry, content)
    return lzma.compress(tar.getvalue(), filters=_DENSE)


def write_zip(installed: Path, output: Path) -> int:
    """Write the zip: sorted, with one date and one mode, so that its bytes depend on its contents alone.
    Returns its size.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_suffix(".part")
    with zipfile.ZipFile(unfinished, "w") as archive:
        for name, data in sorted(contents(installed)):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3
            kind = zipfile.ZIP_STORED if name.endswith(".xz") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, data, kind, compresslevel=9)
    unfinished.replace(output)
    return output.stat().st_size


def build(output: Path, *, python: str = DEFAULT_PYTHON) -> int:
    """Build the zip for a Python version; returns its size in bytes."""
    scratch = Path(tempfile.mkdtemp(prefix="lambda-"))
    try:
        install(scratch, python)
        return write_zip(scratch, output)
    finally:
        shutil.rmtree(scratch)


def main() -> int:
    """Build and say how large it is; 1 if Lambda would not take it."""
    parser = argparse.ArgumentParser(description="Build the zip of the API on Lambda.")
    parser.add_argument(
        "--python", default=DEFAULT_PYTHON, help=f"Lambda's Python (default {DEFAULT_PYTHON})"
    )
    parser.add_argument("--output", type=Path, default=CHECKOUT / "dist" / "api.zip")
    arguments = parser.parse_args()
    size = build(arguments.output, python=arguments.python)
    print(f"{arguments.output}: {size / 1000**2:.1f} MB")
    if size > MAX_BYTES:
        print(f"error: more than {MAX_BYTES / 1000**2:.0f} MB", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
