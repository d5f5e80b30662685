"""Numbers for a monitor."""

from __future__ import annotations

from dataclasses import dataclass

from aiosqlite import Connection


@dataclass(frozen=True)
class WaitingFigure:
    """Waiting jobs of one kind of people in one line."""

    lane: str
    pool: str
    plan: str
    jobs: int
    oldest_at: float  # unix seconds


async def waiting(db: Connection) -> list[WaitingFigure]:
    """How many wait in each line, and since when."""
    rows = await db.execute_fetchall(
        """SELECT lane, pool, plan, count(*) AS jobs, min(created_at) AS oldest_at FROM jobs
        WHERE finished_at IS NULL AND status = 'queued' GROUP BY lane, pool, plan"""
    )
    return [WaitingFigure(row["lane"], row["pool"], row["plan"], row["jobs"], row["oldest_at"]) for row in rows]


async def with_workers(db: Connection) -> dict[str, int]:
    """Jobs that arq has, by status."""
    rows = await db.execute_fetchall(
        "SELECT status, count(*) AS jobs FROM jobs WHERE finished_at IS NULL AND status IN ('dispatched', 'running') GROUP BY status"
    )
    return {row["status"]: row["jobs"] for row in rows}


async def pending_posts(db: Connection) -> tuple[int, float | None]:
    """Messages not yet in Discord, and when the oldest was written."""
    rows = await db.execute_fetchall("SELECT count(*) AS posts, min(created_at) AS oldest_at FROM outbox WHERE state = 'pending'")
    row = next(iter(rows))
    return row["posts"], row["oldest_at"]
