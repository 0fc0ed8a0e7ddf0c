"""What the audit found wrong. Printing and counting of findings; what is compared lives in the other
modules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference: the store that it is in, the kind of difference, the record, and both values where
    there are two.
    """

    store: str
    kind: str
    record: str
    values: str = ""

    def __str__(self) -> str:
        return f"{self.store}: {self.kind}: {self.record}{f': {self.values}' if self.values else ''}"


def in_words(findings: Iterable[Finding], examples: int = 5) -> str:
    """The findings by store and kind, each kind with its number and some examples."""
    found = list(findings)
    counts = Counter((one.store, one.kind) for one in found)
    lines: list[str] = []
    for (store, kind), count in counts.items():
        lines.append(f"{store}: {kind}: {count}")
        alike = [one for one in found if (one.store, one.kind) == (store, kind)]
        lines += [f"    {one.record}{f': {one.values}' if one.values else ''}" for one in alike[:examples]]
    return "\n".join(lines)


def differences(expected: object, found: object, fields: Iterable[str]) -> str:
    """The fields in which two records differ, with both values; empty where they are alike."""
    return ", ".join(
        f"{name} is {getattr(found, name)!r}, should be {getattr(expected, name)!r}"
        for name in fields
        if getattr(expected, name) != getattr(found, name)
    )
