"""The house is as its map says: rooms, their sizes, the ways through them, and the picture of its imports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.import_graph import PAGE, page

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "exchange_platform"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
MAX_LINES, MAX_MODULES, MAX_WORDS, MAX_FILES = 400, 25, 1500, 8


def modules() -> list[Path]:
    return [file for file in LIBRARY.rglob("*.py") if "__pycache__" not in file.parts]


def test_the_map_shows_what_the_library_s_folder_holds() -> None:
    listed = re.search(r"Inside the library.*?```\n(.*?)```", ARCHITECTURE.read_text(), re.DOTALL)
    assert listed is not None
    shown = {line.split()[0].rstrip("/") for line in listed[1].splitlines() if line.strip()}
    held = {file.relative_to(LIBRARY).parts[0] for file in modules()}
    assert shown == held - {"__init__.py", "__main__.py"}


def test_the_map_is_a_first_read() -> None:
    assert len(ARCHITECTURE.read_text().split()) <= MAX_WORDS


@pytest.mark.parametrize("way", ["A record", "An order", "An event's update", "A change of a bet"])
def test_a_way_through_the_house_is_told_in_a_few_files(way: str) -> None:
    told = re.search(rf"\*\*{way}\*\*(.*?)\n\n", ARCHITECTURE.read_text(), re.DOTALL)
    assert told is not None
    files = re.findall(r"`(exchange_platform/[\w/.]+)`", told[1])
    assert 4 <= len(set(files)) <= MAX_FILES
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_no_room_holds_too_many_modules() -> None:
    rooms: dict[Path, int] = {}
    for file in modules():
        rooms[file.parent] = rooms.get(file.parent, 0) + 1
    assert {str(room.relative_to(ROOT)) for room, count in rooms.items() if count > MAX_MODULES} == set()


def test_no_module_is_too_long() -> None:
    long = {
        str(file.relative_to(ROOT)) for file in modules() if len(file.read_text().splitlines()) > MAX_LINES
    }
    assert long == set()


def test_a_class_name_means_one_thing() -> None:
    places: dict[str, list[str]] = {}
    for file in modules():
        for name in re.findall(r"^class ([A-Za-z]\w*)", file.read_text(), re.MULTILINE):
            places.setdefault(name, []).append(str(file.relative_to(LIBRARY)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_the_picture_of_imports_is_as_the_code_is() -> None:
    assert PAGE.read_text() == page(), "python -m tests.support.import_graph draws it again"
