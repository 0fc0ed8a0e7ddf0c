"""DuckDB out of one packed file, where a zip would be too large with DuckDB in it, and unpacked when it is
first used. Else from its wheels.

DuckDB and its extensions repeat much of each other, so packed together they are a fraction of what they are
one by one. And a process that starts to answer a call that asks no lake does not wait for them. Not here:
packing (deployments/lambda_zip.py).
"""

from __future__ import annotations

import importlib
import lzma
import os
import shutil
import sys
import tarfile
import tempfile
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

PACKED = Path(__file__).with_name("duckdb.tar.xz")
"""A tar of what would lie on the path: `duckdb/`, `_duckdb.*.so`, `duckdb_extension_*/`. It is there in a
zip's installation alone.
"""


class _Later(ModuleType):
    """Stands for `duckdb` until something of it is asked for."""

    _lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__version__":  # what the import system itself looks at
            raise AttributeError(name)
        with self._lock:
            if sys.modules.get(self.__name__) is self:
                directory = str(unpacked())
                if directory not in sys.path:
                    sys.path.append(directory)
                del sys.modules[self.__name__]
                self.__dict__.update(importlib.import_module(self.__name__).__dict__)
        return self.__dict__[name]


def import_late() -> None:
    """Let `import duckdb` cost nothing from now on, if DuckDB is packed here: it is unpacked and loaded when
    it is first used.
    """
    if PACKED.exists() and "duckdb" not in sys.modules:
        sys.modules["duckdb"] = _Later("duckdb")


def unpacked() -> Path:
    """The directory that the packed file was unpacked into; the first call on a machine does it, which takes
    some seconds.
    """
    about = PACKED.stat()
    target = Path(tempfile.gettempdir()) / f"duckdb-{about.st_size}-{about.st_mtime_ns}"
    if not target.exists():
        scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix="duckdb-"))
        with lzma.open(PACKED) as packed, tarfile.open(fileobj=packed, mode="r|") as archive:
            # Its own member of the package; Python before 3.11.4 knows no filters.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(scratch)  # noqa: S202 - as above
        try:
            os.rename(scratch, target)  # noqa: PTH104
        except OSError:  # another process was faster
            shutil.rmtree(scratch)
    return target
