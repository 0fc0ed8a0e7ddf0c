"""Reading an IAM policy: what it grants, and which calls it allows. Not here: the platform's policies
(test_terraform.py), what is called (recorded_calls.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.deployments.iam_of_requests import Call


class Grant(NamedTuple):
    """An action that is allowed on a resource, either with IAM's wildcards, where all conditions hold."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()
    """The conditions: each key with the value that it must have."""

    def covers(self, other: Call | Grant) -> bool:
        """Whether it allows that call, or all that the other grant allows."""
        return (
            matches(self.action.lower(), other.action.lower())
            and matches(self.resource, other.resource)
            and set(self.context) <= set(other.context)
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """What a policy grants to whoever has it and nothing else."""

    grants: frozenset[Grant]

    @classmethod
    def read(cls, text: str) -> Policy:
        """From a policy document.

        Raises `ValueError` for what is not understood here, so that no test passes for it: denials,
        everything-but, and conditions other than that a key has a value.
        """
        grants: set[Grant] = set()
        for statement in json.loads(text)["Statement"]:
            unknown = set(statement) - {"Sid", "Effect", "Action", "Resource", "Condition"}
            if unknown or statement["Effect"] != "Allow":
                raise ValueError(
                    f"statement {statement.get('Sid')}: {statement['Effect']}, {sorted(unknown)}"
                )
            grants |= {
                Grant(action, resource, _conditions(statement.get("Condition", {})))
                for action in _several(statement["Action"])
                for resource in _several(statement["Resource"])
            }
        return cls(frozenset(grants))

    def refused(self, calls: Iterable[Call]) -> set[Call]:
        """Which of the calls it does not allow."""
        return {call for call in calls if not any(grant.covers(call) for grant in self.grants)}

    def unused(self, calls: Iterable[Call]) -> set[Grant]:
        """What it grants that none of the calls needs."""
        made = set(calls)
        return {grant for grant in self.grants if not any(grant.covers(call) for call in made)}

    def unexplained(self, calls: Iterable[Call], explained: Iterable[Grant]) -> set[Grant]:
        """What it grants that neither a call needs nor a reason was given for; and the reasons that are given
        for nothing.
        """
        unused, reasons = self.unused(calls), set(explained)
        return {grant for grant in unused if not any(reason.covers(grant) for reason in reasons)} | {
            reason for reason in reasons if not any(reason.covers(grant) for grant in unused)
        }

    def loose(self, folders: Iterable[str]) -> set[Grant]:
        """What it grants by a wildcard that does not stand for all that is in one of the folders, ARNs."""
        whole = {f"{folder}*" for folder in folders}
        return {
            grant
            for grant in self.grants
            if "*" in grant.action
            or "?" in grant.action + grant.resource
            or ("*" in grant.resource and grant.resource not in whole)
        }


def matches(pattern: str, text: str) -> bool:
    """As IAM compares: `*` stands for any characters, `/` and `:` too, `?` for one."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.DOTALL) is not None


_EQUALS = {"StringEquals", "ArnEquals"}


def _conditions(stated: dict[str, dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    if not stated.keys() <= _EQUALS:
        raise ValueError(f"statement with conditions {sorted(stated)}")
    pairs = [(key, _several(value)) for keys in stated.values() for key, value in keys.items()]
    if any(len(values) > 1 or "*" in values[0] for _, values in pairs):
        raise ValueError(f"statement with conditions of several values: {pairs}")
    return tuple(sorted((key, values[0]) for key, values in pairs))


def _several(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
