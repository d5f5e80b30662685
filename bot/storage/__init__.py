"""SQLite: the only place that spells SQL."""
