"""What people did in one server, added up for those who manage it."""

from __future__ import annotations

from dataclasses import dataclass

from aiosqlite import Connection

from bot.storage import jobs
from bot.storage.jobs import JobRecord


@dataclass(frozen=True)
class JobCount:
    """Jobs of one kind with one outcome."""

    kind: str
    status: str
    jobs: int


async def job_counts(db: Connection, guild_id: int, since: float) -> list[JobCount]:
    """Jobs of a server since the beginning of a day, by kind and status."""
    rows = await db.execute_fetchall(
        """SELECT kind, status, sum(jobs) AS jobs FROM job_counts WHERE guild_id = ? AND day >= ?
        GROUP BY kind, status HAVING sum(jobs) > 0 ORDER BY kind, status""",
        (guild_id, since),
    )
    return [JobCount(row["kind"], row["status"], row["jobs"]) for row in rows]


async def open_in(db: Connection, guild_id: int, limit: int) -> list[JobRecord]:
    """Newest jobs of a server that have not ended."""
    # the unary pluses keep the planner on the small index of open jobs
    where = "finished_at IS NULL AND status IN ('queued', 'dispatched', 'running') AND +guild_id = ? ORDER BY +job_id DESC LIMIT ?"
    return await jobs.select(db, where, (guild_id, limit))


async def ended_in(db: Connection, guild_id: int, limit: int) -> list[JobRecord]:
    """Newest jobs of a server, those that have ended."""
    return await jobs.select(db, "guild_id = ? AND finished_at IS NOT NULL ORDER BY created_at DESC LIMIT ?", (guild_id, limit))
