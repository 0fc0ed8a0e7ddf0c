"""The operational database: SQLite or MySQL. Tables in tables/, statements by subject."""
