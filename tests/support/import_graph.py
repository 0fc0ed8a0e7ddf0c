"""The import graph of the library's packages as a picture. `python -m tests.support.import_graph` writes
docs/import-graph.md.
"""

from __future__ import annotations

from pathlib import Path

import grimp

PAGE = Path(__file__).parents[2] / "docs" / "import-graph.md"
_PACKAGE = "exchange_platform"
_INTRODUCTION = f"""# The import graph

Which package of `{_PACKAGE}` imports which, drawn by [grimp](https://grimp.readthedocs.io). Edges that others imply are left out: where A imports B, and B
imports C, an edge from A to C is not drawn. `python -m tests.support.import_graph` draws it again; a test holds that it is as the code is.
"""


def page() -> str:
    """The whole page, as it should be."""
    lines = [f"  {importer} --> {imported}" for importer, imported in sorted(_reduced(_edges()))]
    return "\n".join([_INTRODUCTION, "```mermaid", "flowchart TD", *lines, "```", ""])


def _edges() -> set[tuple[str, str]]:
    graph = grimp.build_graph(_PACKAGE)
    edges: set[tuple[str, str]] = set()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            pair = _room(module), _room(imported)
            if all(pair) and pair[0] != pair[1]:
                edges.add(pair)
    return edges


def _room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] != "__main__" else ""


def _reduced(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Without the edges that a longer way implies."""
    below: dict[str, set[str]] = {}

    def reached(room: str) -> set[str]:
        if room not in below:
            direct = {imported for importer, imported in edges if importer == room}
            below[room] = direct.union(*(reached(one) for one in direct))
        return below[room]

    return {
        (importer, imported)
        for importer, imported in edges
        if not any(imported in reached(between) for other, between in edges if other == importer)
    }


if __name__ == "__main__":
    PAGE.write_text(page())
