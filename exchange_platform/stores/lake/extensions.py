"""DuckDB's extensions, loaded from their wheels: nothing is downloaded or copied. Not here: what they are
loaded for (connection.py).

DuckDB checks an extension's signature at each LOAD, by hashing some 36 MB, which is 0.2 s of a core and most
of what a connection costs. The same file needs that once a process: after it, connections load the file
unchecked, and then refuse what is not signed, as ever.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb

CONFIG = {
    # Until `load` has returned.
    "allow_unsigned_extensions": "true",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
}
"""What a connection must be opened with for `load`."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it is now: another content has another identity."""

    path: Path
    inode: int
    size: int
    changed_ns: int


def load(connection: duckdb.DuckDBPyConnection, *names: str) -> None:
    """Load extensions whose signatures are valid, and let the connection load none that is unsigned from then
    on.

    Raises `ImportError` where an extension's wheel is missing or made for another DuckDB, and DuckDB's own
    error where the extension is not signed by DuckDB's makers.
    """
    for name in names:
        file = _file(name)
        _check_signature(file)
        connection.execute(_load(file.path))
    connection.execute("SET allow_unsigned_extensions = false")  # DuckDB lets nobody set it to true again


def _file(name: str) -> _File:
    wheel = importlib.util.find_spec(f"duckdb_extension_{name}")
    if wheel is None or wheel.origin is None:
        raise ImportError(
            f"DuckDB's extension {name} is not installed; its wheel is duckdb-extension-{name.replace('_', '-')}"
        )
    path = Path(wheel.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    try:
        found = path.stat()
    except FileNotFoundError:
        raise ImportError(
            f"the wheel of DuckDB's extension {name} has none for DuckDB {duckdb.__version__}: {path} is missing;"
            " install the versions of requirements.lock"
        ) from None
    return _File(path, found.st_ino, found.st_size, found.st_ctime_ns)


@cache
def _check_signature(file: _File) -> None:
    """Have it loaded by a DuckDB that refuses unsigned extensions; once a process for each file."""
    with duckdb.connect(config={**CONFIG, "allow_unsigned_extensions": "false"}) as connection:
        connection.execute(_load(file.path))


def _load(path: Path) -> str:
    return "LOAD '" + str(path).replace("'", "''") + "'"
