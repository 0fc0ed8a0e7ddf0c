"""JSON Schemas of what streams and answers carry, made of the records' own types. Not here: the types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from exchange_platform.process.docstrings import flowing


def json_schema_of(title: str, kinds: Sequence[Any]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a document that is one of these types; docstrings are its descriptions."""
    roots, components = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    for component in components.values():
        if "description" in component:
            component["description"] = flowing(component["description"])
    one = roots[0] if len(roots) == 1 else {"oneOf": list(roots)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **one,
        "$defs": components,
    }
