"""What Dagster materialises: thin, each a few calls into the library."""
