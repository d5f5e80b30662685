"""Rows of `ledger`: units held by open jobs and spent for good. Entries are only ever added; a balance is their sum."""

from __future__ import annotations

from dataclasses import dataclass

from aiosqlite import Connection


@dataclass(frozen=True)
class Balance:
    """Units of one person in one window."""

    held: int
    spent: int


async def balance(db: Connection, user_id: int, window_start: float) -> Balance:
    """Sum of a window's entries."""
    rows = await db.execute_fetchall(
        "SELECT coalesce(sum(held), 0) AS held, coalesce(sum(spent), 0) AS spent FROM ledger WHERE user_id = ? AND window_start = ?",
        (user_id, window_start),
    )
    row = next(iter(rows))
    return Balance(held=row["held"], spent=row["spent"])


@dataclass(frozen=True)
class Reservation:
    """What a job wants to hold."""

    job_id: str
    user_id: int
    guild_id: int | None
    window_start: float
    units: int
    limit: int
    now: float


async def reserve(tx: Connection, wanted: Reservation) -> bool:
    """Hold units if they fit into the limit: check and entry are one statement. False, and no entry, when they do not fit."""
    cursor = await tx.execute(
        """INSERT INTO ledger (job_id, user_id, guild_id, window_start, kind, held, spent, created_at)
        SELECT :job, :user, :guild, :window, 'reserve', :units, 0, :now
        WHERE (SELECT coalesce(sum(held + spent), 0) FROM ledger WHERE user_id = :user AND window_start = :window) + :units <= :limit""",
        {
            "job": wanted.job_id,
            "user": wanted.user_id,
            "guild": wanted.guild_id,
            "window": wanted.window_start,
            "units": wanted.units,
            "limit": wanted.limit,
            "now": wanted.now,
        },
    )
    return cursor.rowcount == 1


async def end(tx: Connection, job_id: str, charged: int, now: float) -> bool:
    """Release what a job holds and spend `charged` of it, in the window of its reservation.

    False, and no entry, when the job holds nothing (any more): ending twice is ending once.

    Raises:
        sqlite3.IntegrityError: `charged` is more than the job holds.
    """
    cursor = await tx.execute(
        """INSERT INTO ledger (job_id, user_id, guild_id, window_start, kind, held, spent, created_at)
        SELECT job_id, user_id, guild_id, window_start, :kind, -held, :charged, :now FROM ledger AS opened
        WHERE job_id = :job AND kind = 'reserve' AND NOT EXISTS (SELECT 1 FROM ledger WHERE job_id = :job AND kind <> 'reserve')""",
        {"kind": "settle" if charged else "refund", "charged": charged, "now": now, "job": job_id},
    )
    return cursor.rowcount == 1


async def daily_limit(db: Connection, user_id: int, guild_id: int | None, default: int) -> int:
    """Units per day: the person's own limit, else the server's, else `default`."""
    rows = await db.execute_fetchall(
        """SELECT coalesce((SELECT daily_units FROM users WHERE user_id = ?), (SELECT daily_units FROM guilds WHERE guild_id = ?), ?)
        AS daily_units""",
        (user_id, guild_id, default),
    )
    return int(next(iter(rows))["daily_units"])


async def remember_user(tx: Connection, user_id: int, display_name: str, now: float) -> None:
    """Note who a person is; a limit set for them is kept."""
    await tx.execute(
        """INSERT INTO users (user_id, display_name, seen_at) VALUES (?, ?, ?)
        ON CONFLICT (user_id) DO UPDATE SET display_name = excluded.display_name, seen_at = excluded.seen_at""",
        (user_id, display_name, now),
    )
