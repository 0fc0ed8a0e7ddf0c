"""Events, markets and selections in the operational database."""
