"""The lake: DuckLake tables for analysts. `Lake` is what others use of it."""

from exchange_platform.stores.lake.lake import Lake as Lake
