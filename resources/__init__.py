"""Dagster resources: typed configuration around the library."""
