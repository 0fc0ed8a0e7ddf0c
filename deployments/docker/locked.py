"""`locked.py LOCK NAMES`: print what LOCK says of the packages that the file NAMES lists, with their hashes.

An image gets what its part of the platform needs, and nothing of the tests' and the others'. Not here: which
packages those are (install).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_NAME = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)", re.MULTILINE)


def normalized(name: str) -> str:
    """The name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def select(lock: str, names: str) -> str:
    """The lock's entries of these names. Raises `KeyError` with those that it does not have."""
    entries: dict[str, list[str]] = {}
    for entry in re.split(r"\n(?=\S)", lock.strip()):
        found = _NAME.match(entry)
        if found:
            entries.setdefault(normalized(found[1]), []).append(entry)
    wanted = sorted({normalized(name) for name in _NAME.findall(names)})
    missing = [name for name in wanted if name not in entries]
    if missing:
        raise KeyError(f"not in the lock: {', '.join(missing)}")
    return "\n".join(entry for name in wanted for entry in entries[name])


if __name__ == "__main__":
    print(select(Path(sys.argv[1]).read_text(), Path(sys.argv[2]).read_text()))
