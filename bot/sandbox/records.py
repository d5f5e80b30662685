"""What the bot wrote down about its jobs, read from its SQLite file without ever writing to it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Records:
    """A read-only view of the bot's database; empty while the bot has not made it."""

    def __init__(self, database: Path) -> None:
        self._database = database

    def jobs(self, owner_id: int | None = None) -> list[Row]:
        """Jobs, oldest first, with `request` and `result` decoded."""
        rows = self._rows("SELECT * FROM jobs WHERE ?1 IS NULL OR owner_id = ?1 ORDER BY created_at, job_id", owner_id)
        return [row | {key: json.loads(row[key]) for key in ("request", "result") if row.get(key)} for row in rows]

    def job(self, job_id: str) -> Row:
        """One job."""
        return next(row for row in self.jobs() if row["job_id"] == job_id)

    def undelivered(self, job_id: str) -> bool:
        """True while a finished job's messages still wait in the outbox."""
        return bool(self._rows("SELECT 1 AS x FROM outbox WHERE job_id = ?1 AND state = 'pending'", job_id))

    def loras(self) -> list[Row]:
        """Trained LoRAs with their files in the object store."""
        rows = self._rows("SELECT * FROM loras WHERE file IS NOT NULL ORDER BY created_at")
        return [row | {"file": json.loads(row["file"])} for row in rows]

    def _rows(self, query: str, *arguments: object) -> list[Row]:
        if not self._database.is_file():
            return []
        with self._open() as connection:
            try:
                return [dict(row) for row in connection.execute(query, arguments)]
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):  # the bot is still migrating
                    return []
                raise

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            yield connection
