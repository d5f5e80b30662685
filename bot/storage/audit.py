"""Rows of `audit`: who did what about rules, reports and takedowns."""

from __future__ import annotations

from dataclasses import dataclass

from aiosqlite import Connection


@dataclass(frozen=True)
class AuditEntry:
    """One thing somebody did. `guild_id` None: everywhere."""

    at: float
    actor_id: int
    guild_id: int | None
    action: str
    subject: str


async def insert(tx: Connection, entry: AuditEntry) -> None:
    """Write it down."""
    await tx.execute(
        "INSERT INTO audit (at, actor_id, guild_id, action, subject) VALUES (?, ?, ?, ?, ?)",
        (entry.at, entry.actor_id, entry.guild_id, entry.action, entry.subject),
    )


async def latest(db: Connection, guild_id: int | None, limit: int) -> list[AuditEntry]:
    """The newest entries of a server, or (None) of all."""
    where = "" if guild_id is None else "WHERE guild_id = :guild"
    rows = await db.execute_fetchall(
        f"SELECT * FROM audit {where} ORDER BY entry_id DESC LIMIT :limit",  # noqa: S608 - constants
        {"guild": guild_id, "limit": limit},
    )
    return [AuditEntry(row["at"], row["actor_id"], row["guild_id"], row["action"], row["subject"]) for row in rows]
