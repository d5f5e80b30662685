"""Rows of `cards`: the status message of every job."""

from __future__ import annotations

from dataclasses import dataclass

from aiosqlite import Connection


@dataclass(frozen=True)
class CardRecord:
    """The status message of one job; `message_id` is None until it was posted."""

    job_id: str
    nonce: str
    message_id: int | None


async def insert(tx: Connection, job_id: str, nonce: str) -> None:
    """Ask for a card."""
    await tx.execute("INSERT INTO cards (job_id, nonce) VALUES (?, ?)", (job_id, nonce))


async def live(db: Connection) -> list[CardRecord]:
    """Cards that are not closed, oldest job first."""
    rows = await db.execute_fetchall("SELECT job_id, nonce, message_id FROM cards WHERE closed = 0 ORDER BY job_id")
    return [CardRecord(job_id=row["job_id"], nonce=row["nonce"], message_id=row["message_id"]) for row in rows]


async def attach(tx: Connection, job_id: str, message_id: int) -> None:
    """The card was posted."""
    await tx.execute("UPDATE cards SET message_id = ? WHERE job_id = ?", (message_id, job_id))


async def close(tx: Connection, job_id: str) -> None:
    """The card is never touched again."""
    await tx.execute("UPDATE cards SET closed = 1 WHERE job_id = ?", (job_id,))
