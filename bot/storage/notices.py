"""Rows of `notices`: messages to one person or to a server's log channel that belong to no job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from aiosqlite import Connection

Fact = str | int | float | None


@dataclass(frozen=True)
class NoticeRecord:
    """One message; exactly one of `user_id` and `channel_id` says where it goes."""

    notice_id: int
    kind: str
    facts: Mapping[str, Fact]
    user_id: int | None
    channel_id: int | None
    guild_id: int | None
    tries: int


async def insert(
    tx: Connection,
    kind: str,
    facts: Mapping[str, Fact],
    now: float,
    *,
    user_id: int | None = None,
    channel_id: int | None = None,
    guild_id: int | None = None,
) -> None:
    """Ask for one message."""
    await tx.execute(
        "INSERT INTO notices (kind, facts, user_id, channel_id, guild_id, next_try_at, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (kind, json.dumps(dict(facts)), user_id, channel_id, guild_id, now, now),
    )


async def due(db: Connection, now: float, limit: int) -> list[NoticeRecord]:
    """Pending messages whose time has come, oldest first."""
    rows = await db.execute_fetchall(
        "SELECT * FROM notices WHERE state = 'pending' AND next_try_at <= ? ORDER BY notice_id LIMIT ?", (now, limit)
    )
    return [
        NoticeRecord(
            notice_id=row["notice_id"],
            kind=row["kind"],
            facts=json.loads(row["facts"]),
            user_id=row["user_id"],
            channel_id=row["channel_id"],
            guild_id=row["guild_id"],
            tries=row["tries"],
        )
        for row in rows
    ]


async def last_server(db: Connection, user_id: int) -> int | None:
    """Where the latest job of a person ended."""
    rows = await db.execute_fetchall(
        "SELECT guild_id FROM jobs WHERE owner_id = ? AND guild_id IS NOT NULL ORDER BY finished_at DESC LIMIT 1", (user_id,)
    )
    return next((int(row["guild_id"]) for row in rows), None)


async def close(tx: Connection, notice_id: int, state: str) -> None:
    """`pending -> sent | undeliverable`."""
    await tx.execute("UPDATE notices SET state = ? WHERE notice_id = ? AND state = 'pending'", (state, notice_id))


async def postpone(tx: Connection, notice_id: int, until: float) -> None:
    """Try again at `until`."""
    await tx.execute("UPDATE notices SET tries = tries + 1, next_try_at = ? WHERE notice_id = ? AND state = 'pending'", (until, notice_id))
