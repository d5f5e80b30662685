"""What the bot wrote down about its jobs, read from its SQLite file without ever writing to it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from bot.sandbox.errors import SandboxError

Row = dict[str, Any]

DELIVERY_S = 60.0
TERMINAL = ("succeeded", "failed", "cancelled")
_LOOK_S = 0.1


class JobEndedError(SandboxError):
    """The job is over, but not with the status that was waited for."""


class Records:
    """A read-only view of the bot's database; empty while the bot has not made it."""

    def __init__(self, database: Path) -> None:
        self._database = database

    def jobs(self, owner_id: int | None = None) -> list[Row]:
        """Jobs, oldest first, with `request` and `result` decoded."""
        rows = self._rows("SELECT * FROM jobs WHERE ?1 IS NULL OR owner_id = ?1 ORDER BY created_at, job_id", owner_id)
        return [row | {key: json.loads(row[key]) for key in ("request", "result") if row.get(key)} for row in rows]

    def newest(self, owner_id: int | None = None, lora: str | None = None) -> Row | None:
        """The newest job of a person, or the one that trains a LoRA of this name."""
        jobs = [job for job in self.jobs(owner_id) if lora is None or job["request"].get("name") == lora]
        return jobs[-1] if jobs else None

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


def _passed(status: str, wanted: str) -> bool:
    """True when a job with `status` has left `wanted` behind on the usual way."""
    way = ("queued", "dispatched", "running", "succeeded")
    return wanted in way and status in way and way.index(status) > way.index(wanted)


async def job_reached(
    records: Records,
    status: str,
    within_s: float,
    *,
    owner_id: int | None = None,
    lora: str | None = None,
    steps: int = 0,
    check: Callable[[], None] = lambda: None,
) -> Row:
    """Wait for the newest job (of a person, of a LoRA name) to reach `status` and, when it is over, for its messages to be posted.

    With `steps`, a checkpoint or preview of that step must also have been reported. A job that has gone past `queued`,
    `dispatched` or `running` has reached it.

    Raises:
        JobEndedError: it ended with another status.
        TimeoutError: it took longer than `within_s`, or its messages longer than `DELIVERY_S`.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    job: Row | None = None
    while True:
        check()
        job = records.newest(owner_id, lora) if job is None else records.job(job["job_id"])
        if job is not None and job["steps_done"] >= steps and (job["status"] == status or _passed(job["status"], status)):
            break
        if job is not None and job["status"] in TERMINAL:
            raise JobEndedError(f"the job is {job['status']}: {job['failure'] or ''} {job['failure_detail'] or ''}".strip())
        if loop.time() > deadline:
            where = "there is no such job" if job is None else f"it is {job['status']}, step {job['steps_done']} of {job['total_steps']}"
            raise TimeoutError(f"not {status} within {within_s:g} s: {where}")
        await asyncio.sleep(_LOOK_S)
    deadline = loop.time() + DELIVERY_S
    while job["status"] in TERMINAL and records.undelivered(job["job_id"]):
        check()
        if loop.time() > deadline:
            raise TimeoutError(f"its result was not posted within {DELIVERY_S:g} s")
        await asyncio.sleep(_LOOK_S)
    return job
