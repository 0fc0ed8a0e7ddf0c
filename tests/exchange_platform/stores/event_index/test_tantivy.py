"""The embedded index as files: one writer at a time, readers that follow, a directory that is deleted under
all of them.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from exchange_platform.settings import Settings
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.event_index.directory import FORMAT, IndexDirectory
from exchange_platform.stores.event_index.index import EventDocument, EventQuery
from exchange_platform.stores.event_index.opening import open_event_index
from tests.exchange_platform.stores.event_index_parts import Source, delete_directory, event, names, opened
from tests.support.platform_parts import wait_for

WRITING = """
import sys, time
from pathlib import Path
from exchange_platform.settings import Settings
from exchange_platform.stores.event_index.opening import open_event_index
from tests.exchange_platform.stores.event_index_parts import event
index = open_event_index(Settings(data_dir=Path(sys.argv[1])), writable=True)
version = 1
while True:
    index.put([event("Written v Elsewhere", version=version)])
    print(version, flush=True)
    version += 1
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def directory(settings: Settings) -> Path:
    return settings.data_dir / "event-index"


@pytest.fixture
def another_process(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITING, str(settings.data_dir)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[4],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    yield process
    process.kill()
    process.communicate()


def test_an_index_opened_for_reading_takes_no_documents_and_makes_no_files(
    settings: Settings, directory: Path
) -> None:
    index = open_event_index(settings)
    assert (names(index, "a"), index.count(), index.versions(), index.is_filled()) == ([], 0, {}, False)
    with pytest.raises(ValueError, match="opened for reading"):
        index.put([event("A v B")])
    assert not directory.exists()
    index.close()


def test_a_second_writer_is_told_so_and_takes_over_at_once_when_the_first_closes(settings: Settings) -> None:
    with opened(settings) as first, opened(settings) as second:
        first.put([event("A v B")])
        with pytest.raises(StoreUnavailable, match="another process writes it"):
            second.put([event("C v D")])
        assert names(second, "a") == ["A v B"]
        first.close()
        began = time.monotonic()
        assert second.put([event("C v D")]) == 1
        assert time.monotonic() - began < 1
        assert names(first, "c") == ["C v D"]


def test_what_another_process_puts_is_found_and_its_death_frees_the_index(
    settings: Settings, another_process: subprocess.Popen[str]
) -> None:
    with opened(settings) as index:
        for _ in range(5):
            assert another_process.stdout is not None
            version = int(another_process.stdout.readline())
            (hit,) = index.search(EventQuery(text="written"))
            assert hit.document.version >= version
        with pytest.raises(StoreUnavailable, match="another process writes it"):
            index.put([event("A v B")])
        another_process.send_signal(signal.SIGKILL)
        another_process.wait()
        assert index.put([event("A v B")]) == 1
        held = index.versions()
        assert held["Written-v-Elsewhere"] >= version
        assert index.put([event("Written v Elsewhere", version=10**6)]) == 1


def test_the_index_deleted_under_reader_and_writer_is_made_again(settings: Settings, directory: Path) -> None:
    with opened(settings) as writer, opened(settings) as reader:
        writer.rebuild(Source([event(f"Team {number} v Other") for number in range(200)]))
        writer.put([event("Kept v Forgotten")])
        assert names(reader, "kept") == ["Kept v Forgotten"]
        delete_directory(directory)
        assert names(reader, "kept") == ["Kept v Forgotten"]  # it goes on with what it had
        assert names(reader, "team 77") == ["Team 77 v Other"]
        assert (reader.is_filled(), reader.count(), reader.versions()) == (False, 0, {})
        assert writer.put([event("New v Newer")]) == 1
        assert (writer.is_filled(), reader.count()) == (False, 1)
        assert names(reader, "kept") == ["Kept v Forgotten"]  # as long as the index is not filled again
        with opened(settings) as another:
            assert (names(another, "new"), names(another, "kept")) == (["New v Newer"], [])
        assert writer.rebuild(Source([event("New v Newer"), event("Kept v Forgotten")])) == 2
        assert writer.is_filled()
        assert names(reader, "kept") == ["Kept v Forgotten"]
        assert writer.put([event("Third v Last")]) == 1
        assert names(reader, "third") == ["Third v Last"]


def test_files_deleted_out_of_the_index_are_told_and_a_rebuild_mends_it(
    settings: Settings, directory: Path
) -> None:
    with opened(settings) as writer:
        writer.put([event("A v B")])
        for file in directory.rglob("*.*"):
            if file.name != "current.json":
                file.unlink()
        assert not writer.is_filled()
        assert writer.rebuild(Source([event("A v B"), event("C v D")])) == 2
        assert names(writer, "c") == ["C v D"]
        with opened(settings) as reader:
            assert names(reader, "c") == ["C v D"]
        assert writer.put([event("E v F")]) == 1


def test_an_index_of_another_format_counts_as_none(settings: Settings, directory: Path) -> None:
    with opened(settings) as index:
        index.rebuild(Source([event("A v B")]))
    pointer = directory / "current.json"
    pointer.write_text(pointer.read_text().replace(f'"format":{FORMAT}', '"format":0'))
    with opened(settings) as index:
        assert (index.is_filled(), index.count(), names(index, "a")) == (False, 0, [])
        index.rebuild(Source([event("A v B")]))
        assert (index.is_filled(), names(index, "a")) == (True, ["A v B"])


def test_one_rebuild_at_a_time_and_no_folder_is_left_behind(settings: Settings, directory: Path) -> None:
    with opened(settings) as index:
        with (
            IndexDirectory(directory).rebuilding(),
            pytest.raises(StoreUnavailable, match="a rebuild is under way"),
        ):
            index.rebuild(Source())
        for _ in range(4):
            index.rebuild(Source([event("A v B")]))
            index.put([event("C v D")])
        assert len(list(directory.iterdir())) <= 3  # the pointer, the generation in use, the one before


def test_a_rebuild_that_fails_leaves_the_index_as_it_was(settings: Settings) -> None:
    class Broken(Source):
        def read(self, event_ids: Sequence[str]) -> list[EventDocument]:
            raise StoreUnavailable("operational database: gone")

        def versions(self) -> dict[str, int]:
            return {"new": 1}

    with opened(settings) as index:
        index.rebuild(Source([event("A v B")]))
        with pytest.raises(StoreUnavailable, match="operational database: gone"):
            index.rebuild(Broken([event("C v D")]))
        assert names(index, "a") == ["A v B"]
        assert index.put([event("E v F")]) == 1
        assert index.count() == 2
        assert index.rebuild(Source([event("C v D")])) == 1


def test_searches_in_many_threads_while_it_is_written_rebuilt_and_deleted(
    settings: Settings, directory: Path
) -> None:
    documents = [event(f"Team {number} v Other", event_id=f"e{number}") for number in range(100)]
    failures: list[BaseException] = []
    ended = threading.Event()
    with opened(settings) as writer, opened(settings) as reader:
        writer.rebuild(Source(documents))

        def search() -> None:
            while not ended.is_set():
                try:
                    assert len(names(reader, "team", limit=20)) == 20
                except BaseException as error:
                    failures.append(error)

        threads = [threading.Thread(target=search) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for version in range(2, 12):
                writer.put([event("Team 1 v Other", event_id="e1", version=version)])
                if version % 4 == 0:
                    delete_directory(directory)
                    writer.rebuild(Source(documents))
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        assert not failures
        wait_for(lambda: len(names(reader, "team", limit=50)) == 50)
