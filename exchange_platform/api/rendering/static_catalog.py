"""The files that pages are made with, as the package ships them, and the version that all of them have
together. Not here: serving them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

DIRECTORY = Path(__file__).parents[1] / "static"


class StaticFiles:
    """The files under one directory, read once. `version` is a function of their names and contents: any
    change changes every path, so scripts that import each other are always of one version.
    """

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self._paths = {
            path.relative_to(directory).as_posix(): path
            for path in sorted(directory.rglob("*"))
            if path.is_file()
        }
        digest = hashlib.sha256()
        for name, path in self._paths.items():
            digest.update(f"{name}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
        self.version = digest.hexdigest()[:16]

    def path(self, name: str) -> Path | None:
        """Where the file lies; None if there is no such file."""
        return self._paths.get(name)

    def url(self, name: str) -> str:
        """The path of the file's address, from the API's root."""
        if name not in self._paths:
            raise ValueError(f"{name} is no static file; there are {', '.join(self._paths)}")
        return f"/static/{self.version}/{name}"
