"""The data platform behind a sports-betting exchange: everything that is true without Dagster."""
