"""Rows of `shares`: clips their owners gave a page on the web."""

from __future__ import annotations

from aiosqlite import Connection


async def put(tx: Connection, share_id: str, job_id: str, now: float) -> str:
    """Share a job's clip; the id of the share, which is the earlier one when it was shared already."""
    rows = await tx.execute_fetchall(
        """INSERT INTO shares (share_id, job_id, created_at) VALUES (?, ?, ?)
        ON CONFLICT (job_id) DO UPDATE SET job_id = excluded.job_id RETURNING share_id""",
        (share_id, job_id, now),
    )
    return str(next(iter(rows))["share_id"])


async def job_of(db: Connection, share_id: str) -> str | None:
    """The job whose clip is shared under an id."""
    rows = await db.execute_fetchall("SELECT job_id FROM shares WHERE share_id = ?", (share_id,))
    return next((str(row["job_id"]) for row in rows), None)


async def delete(tx: Connection, job_id: str) -> bool:
    """Stop sharing; False when it was not shared."""
    return (await tx.execute("DELETE FROM shares WHERE job_id = ?", (job_id,))).rowcount == 1
