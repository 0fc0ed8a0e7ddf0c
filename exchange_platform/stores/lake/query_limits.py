"""What one analyst's query may use: time, memory, room on disk, and the size of its answer. What it may read
is fence.py's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from exchange_platform.stores.lake.fence import QueryError

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_AT_ONCE = 10_000
_MB = 1_000_000
_KINDS: dict[str, type[duckdb.Error]] = {
    "interrupt error": duckdb.InterruptException,
    "out of memory error": duckdb.OutOfMemoryException,
    "io error": duckdb.IOException,
    "conversion error": duckdb.ConversionException,
    "invalid input error": duckdb.InvalidInputException,
    "permission error": duckdb.PermissionException,
    "serialization error": duckdb.SerializationException,
}


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """`memory_mb` bounds what DuckDB holds, and once more the answer; `spill_mb` what it may write to a
    temporary directory beside that.
    """

    max_s: float = 60.0
    memory_mb: int = 1000
    spill_mb: int = 4000

    @contextmanager
    def bounding(self, session: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """End what the session does inside when it takes too long. Raises `QueryError` for that, and where
        memory does not suffice.
        """
        late = threading.Event()

        def end() -> None:
            late.set()
            session.interrupt()

        timer = threading.Timer(self.max_s, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except duckdb.InterruptException:
            if not late.is_set():
                raise
            raise QueryError(
                f"the query took longer than the {self.max_s:g} s that it may (EXCHANGE_PLATFORM_LAKE_QUERY_MAX_S): narrow it,"
                " by executed_at or market_id for one"
            ) from None
        except duckdb.OutOfMemoryException:
            raise QueryError(
                f"the query needs more than the {self.memory_mb:,} MB of memory and {self.spill_mb:,} MB of disk that it may have"
                " (EXCHANGE_PLATFORM_LAKE_QUERY_MEMORY_MB, EXCHANGE_PLATFORM_LAKE_QUERY_SPILL_MB): narrow it"
            ) from None
        finally:
            timer.cancel()
            timer.join()

    def collected(self, answer: duckdb.DuckDBPyConnection) -> pa.Table:
        """The whole answer. Raises `QueryError` where it is larger than the memory that a query may have."""
        import pyarrow as pa  # 70 MB, for those who ask alone

        reader = answer.to_arrow_reader(_ROWS_AT_ONCE)
        batches, size = [], 0
        while True:
            try:
                batch = next(reader, None)
            except OSError as error:
                raise _as_of_duckdb(error) from None
            if batch is None:
                break
            size += batch.nbytes
            if size > self.memory_mb * _MB:
                raise QueryError(
                    f"the answer has more than {self.memory_mb:,} MB (EXCHANGE_PLATFORM_LAKE_QUERY_MEMORY_MB): aggregate it, or LIMIT it"
                )
            batches.append(batch)
        return pa.Table.from_batches(batches, schema=reader.schema)


def _as_of_duckdb(error: OSError) -> duckdb.Error:
    """DuckDB's own error, of which pyarrow keeps the words alone."""
    said = str(error)
    kind = next((kind for words, kind in _KINDS.items() if words in said.lower()), duckdb.Error)
    return kind(said)
