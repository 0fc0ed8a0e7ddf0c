"""Sources, the consumer engine, publishers."""
