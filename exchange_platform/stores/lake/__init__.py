"""The lake: DuckLake tables for analysts. `Lake` is what others use of it; it comes with DuckDB, which is
loaded only when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exchange_platform.stores.lake.lake import Lake

__all__ = ["Lake"]


def __getattr__(name: str) -> object:
    if name != "Lake":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from exchange_platform.stores.lake.lake import Lake

    return Lake
