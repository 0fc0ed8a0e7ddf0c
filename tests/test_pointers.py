"""Every file and page that a docstring, a description or a page of the docs names exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = ("exchange_platform", "assets", "ops", "sensors", "resources", "deployments", "tests", "benchmarks")
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("[A-Z]*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
NAMED = re.compile(
    r"(?<![\w/.*{}%-])(?:[\w.-]+/)*[\w-]+\.(?:py|md|sql|toml|yaml|yml|tf|lock|schema\.json|ipynb)(?![\w*/.{]|\.\w)"
)
MADE = {"platform.json", "api.json", "dagster.yaml", "workspace.yaml", "living.py"}
"""Files that `up` and the tests make."""


def suffixes() -> set[str]:
    """Each file of the project by its path, and by each end of that path."""
    found: set[str] = set()
    for file in ROOT.rglob("*"):
        parts = file.relative_to(ROOT).parts
        if parts[0] in (".venv", ".git", "dist") or "__pycache__" in parts or not file.is_file():
            continue
        found.update("/".join(parts[at:]) for at in range(len(parts)))
    return found


@pytest.fixture(scope="module")
def files() -> set[str]:
    return suffixes()


def texts(file: Path) -> Iterator[str]:
    """A module's docstrings, and its texts that say something to people."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if said := ast.get_docstring(node):
                yield said
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.value


def slug(title: str) -> str:
    """A title's anchor, as GitHub makes it."""
    plain = re.sub(r"[`*]|\[|\]\([^)]*\)", "", title.strip().lower())
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(line.lstrip("#")) for line in page.read_text().splitlines() if line.startswith("#")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    astray = []
    for link in LINK.findall(page.read_text()):
        path, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            astray.append(link)
    assert astray == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path, files: set[str]) -> None:
    text = re.sub(r"https?://\S+|s3://\S+|\bcon\.sql\(", "", page.read_text())
    astray = {name for name in NAMED.findall(text) if name not in files | MADE}
    assert {name for name in astray if not (page.parent / name).exists()} == set()


@pytest.mark.parametrize("package", CODE)
def test_every_file_that_a_docstring_or_a_message_names_exists(package: str, files: set[str]) -> None:
    astray = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in (ROOT / package).rglob("*.py")
        for text in texts(file)
        for name in NAMED.findall(re.sub(r"https?://\S+|s3://\S+|%\(\w+\)s/", "", text))
        if name not in files | MADE
    }
    assert astray == set()
