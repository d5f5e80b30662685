"""Rows of `blocks`: people who may not use the bot in a server, or anywhere."""

from __future__ import annotations

from dataclasses import dataclass

from aiosqlite import Connection

EVERYWHERE = 0
"""Stands for the guild id of a block that an operator set."""


@dataclass(frozen=True)
class Block:
    """Why somebody may not use the bot."""

    guild_id: int
    user_id: int
    reason: str
    blocked_by: int
    created_at: float


async def find(db: Connection, guild_id: int | None, user_id: int) -> Block | None:
    """The block that holds for a person in a server, one for everywhere first."""
    rows = await db.execute_fetchall(
        "SELECT * FROM blocks WHERE user_id = ? AND guild_id IN (?, ?) ORDER BY guild_id LIMIT 1", (user_id, EVERYWHERE, guild_id or 0)
    )
    return next((Block(**dict(row)) for row in rows), None)


async def put(tx: Connection, block: Block) -> None:
    """Block somebody; the reason of an older block is replaced."""
    await tx.execute(
        """INSERT INTO blocks (guild_id, user_id, reason, blocked_by, created_at) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (guild_id, user_id) DO UPDATE SET reason = excluded.reason, blocked_by = excluded.blocked_by,
            created_at = excluded.created_at""",
        (block.guild_id, block.user_id, block.reason, block.blocked_by, block.created_at),
    )


async def remove(tx: Connection, guild_id: int, user_id: int) -> bool:
    """Let them use the bot again; False when they were not blocked there."""
    return (await tx.execute("DELETE FROM blocks WHERE guild_id = ? AND user_id = ?", (guild_id, user_id))).rowcount == 1
