import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from exchange_platform.stores.lake import extensions as lake_extensions

NAME = "sqlite_scanner"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={**lake_extensions.CONFIG}) as connection:
        yield connection


@pytest.fixture
def extension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The extension's file in a copy of its wheel, which is found first."""
    package = f"duckdb_extension_{NAME}"
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.origin is not None
    shutil.copytree(Path(found.origin).parent, tmp_path / package)
    monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (file,) = (tmp_path / package).glob("extensions/*/*.duckdb_extension")
    return file


def forge(file: Path) -> None:
    """Change a byte of the signature at its end."""
    with file.open("r+b") as opened:
        opened.seek(-1, 2)
        last = opened.read(1)
        opened.seek(-1, 2)
        opened.write(bytes([last[0] ^ 1]))


def load_anew() -> None:
    with duckdb.connect(config={**lake_extensions.CONFIG}) as connection:
        lake_extensions.load(connection, NAME)


def test_a_connection_loads_nothing_unsigned_afterwards(
    connection: duckdb.DuckDBPyConnection, extension: Path
) -> None:
    lake_extensions.load(connection, NAME)
    unsigned = extension.with_name("unsigned.duckdb_extension")
    extension.rename(unsigned)
    forge(unsigned)
    with pytest.raises(duckdb.IOException, match="signature"):
        connection.execute(f"LOAD '{unsigned}'")
    with pytest.raises(duckdb.InvalidInputException, match="allow_unsigned_extensions"):
        connection.execute("SET allow_unsigned_extensions = true")


def test_a_forged_extension_is_refused(extension: Path) -> None:
    forge(extension)
    for _ in range(2):
        with pytest.raises(duckdb.IOException, match="signature"):
            load_anew()


def test_an_extension_that_was_good_once_is_checked_again_when_its_file_has_changed(extension: Path) -> None:
    load_anew()
    forge(extension)
    with pytest.raises(duckdb.IOException, match="signature"):
        load_anew()


def test_a_missing_wheel_is_named(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(ImportError, match="duckdb-extension-is-missing"):
        lake_extensions.load(connection, "is_missing")


def test_a_wheel_for_another_duckdb_is_named(connection: duckdb.DuckDBPyConnection, extension: Path) -> None:
    extension.rename(extension.with_suffix(".elsewhere"))
    with pytest.raises(ImportError, match=f"for DuckDB {duckdb.__version__}: .* is missing"):
        lake_extensions.load(connection, NAME)
