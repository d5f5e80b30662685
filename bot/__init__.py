"""The Discord process: torch-free, the only writer of SQLite."""
