"""What makes Dagster act: one file a source."""
