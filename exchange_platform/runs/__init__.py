"""The runs that Dagster supervises, and whether their processes live."""
