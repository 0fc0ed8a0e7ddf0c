"""What a Terraform state says of the resources in it. Making the state is terraforming.py's."""

from __future__ import annotations

import json
from typing import Any


class Resources:
    """The resources of a state, by type and name."""

    def __init__(self, state: str) -> None:
        self._resources = [one for one in json.loads(state)["resources"] if one["mode"] == "managed"]

    def all(self, kind: str, name: str, module: str | None = None) -> list[dict[str, Any]]:
        """The attributes of each instance."""
        return [
            instance["attributes"]
            for one in self._resources
            if (one["type"], one["name"]) == (kind, name) and module in (None, one.get("module"))
            for instance in one["instances"]
        ]

    def one(self, kind: str, name: str, module: str | None = None) -> dict[str, Any]:
        """The attributes of the only instance."""
        (attributes,) = self.all(kind, name, module)
        return attributes
