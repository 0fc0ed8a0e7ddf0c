"""What Dagster does besides materialising: jobs of ops, thin, each a few calls into the library."""
