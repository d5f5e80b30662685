"""Rows of `casts` and `cast_members`: stacks saved under a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from sqlite3 import Row

from aiosqlite import Connection


@dataclass(frozen=True)
class CastRecord:
    """A saved stack; members are (LoRA id, weight) in order, without those that were deleted since."""

    cast_id: str  # ULID
    owner_id: int
    guild_id: int | None
    name: str
    members: tuple[tuple[str, float], ...]


async def put(tx: Connection, record: CastRecord, now: float) -> None:
    """Save a stack; one of the same owner and name is replaced."""
    await tx.execute("DELETE FROM casts WHERE owner_id = ? AND name = ?", (record.owner_id, record.name))
    await tx.execute(
        "INSERT INTO casts (cast_id, owner_id, guild_id, name, created_at) VALUES (?, ?, ?, ?, ?)",
        (record.cast_id, record.owner_id, record.guild_id, record.name, now),
    )
    members = [(record.cast_id, position, lora_id, weight) for position, (lora_id, weight) in enumerate(record.members)]
    await tx.executemany("INSERT INTO cast_members (cast_id, position, lora_id, weight) VALUES (?, ?, ?, ?)", members)


async def named(db: Connection, name: str, owner_id: int, guild_id: int | None) -> CastRecord | None:
    """What a name means to one person in one server: their own before the server's oldest."""
    rows = await db.execute_fetchall(
        """SELECT * FROM casts WHERE name = :name AND (owner_id = :me OR guild_id = :guild)
        ORDER BY owner_id = :me DESC, cast_id LIMIT 1""",
        {"name": name, "me": owner_id, "guild": guild_id},
    )
    found = list(rows)
    return (await _with_members(db, found))[0] if found else None


async def visible(db: Connection, owner_id: int, guild_id: int | None, limit: int) -> list[CastRecord]:
    """Stacks of one person and of one server, by name."""
    rows = await db.execute_fetchall(
        "SELECT * FROM casts WHERE owner_id = :me OR guild_id = :guild ORDER BY owner_id = :me DESC, name LIMIT :limit",
        {"me": owner_id, "guild": guild_id, "limit": limit},
    )
    return await _with_members(db, list(rows))


async def of_owner(db: Connection, owner_id: int) -> list[str]:
    """Names of one person's stacks."""
    return [row["name"] for row in await db.execute_fetchall("SELECT name FROM casts WHERE owner_id = ? ORDER BY name", (owner_id,))]


async def delete(tx: Connection, name: str, owner_id: int) -> bool:
    """Forget a stack of one person; False when there is none of this name."""
    return (await tx.execute("DELETE FROM casts WHERE owner_id = ? AND name = ?", (owner_id, name))).rowcount == 1


async def _with_members(db: Connection, rows: Sequence[Row]) -> list[CastRecord]:
    records = []
    for row in rows:
        members = await db.execute_fetchall(
            "SELECT lora_id, weight FROM cast_members WHERE cast_id = ? ORDER BY position", (row["cast_id"],)
        )
        records.append(
            CastRecord(
                cast_id=row["cast_id"],
                owner_id=row["owner_id"],
                guild_id=row["guild_id"],
                name=row["name"],
                members=tuple((member["lora_id"], member["weight"]) for member in members),
            )
        )
    return records
