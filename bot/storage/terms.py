"""Rows of `terms`: who agreed to which version of them."""

from __future__ import annotations

from aiosqlite import Connection


async def version_of(db: Connection, user_id: int) -> int:
    """The version a person agreed to; 0 for none."""
    rows = await db.execute_fetchall("SELECT version FROM terms WHERE user_id = ?", (user_id,))
    return next((int(row["version"]) for row in rows), 0)


async def accept(tx: Connection, user_id: int, version: int, now: float) -> None:
    """A person agrees."""
    await tx.execute(
        """INSERT INTO terms (user_id, version, accepted_at) VALUES (?, ?, ?)
        ON CONFLICT (user_id) DO UPDATE SET version = excluded.version, accepted_at = excluded.accepted_at""",
        (user_id, version, now),
    )
