"""Rows of `outbox`: messages that must appear in Discord exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from sqlite3 import Row

from aiosqlite import Connection


@dataclass(frozen=True)
class OutboxRecord:
    """One message to post; `payload` is the event that caused it, as JSON."""

    post_id: int
    job_id: str
    kind: str
    nonce: str
    payload: str
    tries: int
    first_try_at: float | None


async def insert(tx: Connection, *, job_id: str, kind: str, nonce: str, payload: str, now: float) -> None:
    """Ask for one message; asking again for the same job and kind changes nothing."""
    await tx.execute(
        """INSERT INTO outbox (job_id, kind, nonce, payload, next_try_at, created_at) VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT (job_id, kind) DO NOTHING""",
        (job_id, kind, nonce, payload, now, now),
    )


async def due(db: Connection, now: float, limit: int) -> list[OutboxRecord]:
    """Pending messages whose time has come, oldest first."""
    rows = await db.execute_fetchall(
        "SELECT * FROM outbox WHERE state = 'pending' AND next_try_at <= ? ORDER BY post_id LIMIT ?", (now, limit)
    )
    return [_record(row) for row in rows]


async def begin(tx: Connection, post_id: int, now: float) -> None:
    """A message is about to be sent; the time of the first try is kept."""
    await tx.execute("UPDATE outbox SET first_try_at = coalesce(first_try_at, ?) WHERE post_id = ? AND state = 'pending'", (now, post_id))


async def mark_sent(tx: Connection, post_id: int, channel_id: int, message_id: int) -> str | None:
    """`pending -> sent`; the job id, or None when it was not pending."""
    rows = await tx.execute_fetchall(
        """UPDATE outbox SET state = 'sent', channel_id = ?, message_id = ?, error = NULL WHERE post_id = ? AND state = 'pending'
        RETURNING job_id""",
        (channel_id, message_id, post_id),
    )
    return next((str(row["job_id"]) for row in rows), None)


async def postpone(tx: Connection, post_id: int, until: float, error: str) -> None:
    """One try more has failed; the next is at `until`."""
    await tx.execute(
        "UPDATE outbox SET tries = tries + 1, next_try_at = ?, error = ? WHERE post_id = ? AND state = 'pending'", (until, error, post_id)
    )


async def mark_undeliverable(tx: Connection, post_id: int, error: str) -> None:
    """`pending -> undeliverable`."""
    await tx.execute("UPDATE outbox SET state = 'undeliverable', error = ? WHERE post_id = ? AND state = 'pending'", (error, post_id))


def _record(row: Row) -> OutboxRecord:
    return OutboxRecord(
        post_id=row["post_id"],
        job_id=row["job_id"],
        kind=row["kind"],
        nonce=row["nonce"],
        payload=row["payload"],
        tries=row["tries"],
        first_try_at=row["first_try_at"],
    )
