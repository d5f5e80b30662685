"""Rows of `ledger`: units held by open jobs and spent for good. Entries are only ever added; triggers keep `balances` and `server_days`."""

from __future__ import annotations

from dataclasses import dataclass

from aiosqlite import Connection


@dataclass(frozen=True)
class Balance:
    """Units held by open jobs, and spent for good."""

    held: int
    spent: int


@dataclass(frozen=True)
class Reservation:
    """What a job wants to hold, and the limits it must fit into. Days are the UTC days units are booked on, in unix seconds."""

    job_id: str
    user_id: int
    guild_id: int | None
    day: float
    units: int
    now: float
    daily_limit: int  # the person's, all servers together
    since: float  # first day of the server's window
    user_limit: int | None  # the person's in this server and window; None: no limit
    server_limit: int | None  # everybody's in this server and window


async def reserve(tx: Connection, wanted: Reservation) -> bool:
    """Hold units if they fit into every limit: check and entry are one statement. False, and no entry, when they do not fit."""
    cursor = await tx.execute(
        """INSERT INTO ledger (job_id, user_id, guild_id, window_start, kind, held, spent, created_at)
        SELECT :job_id, :user_id, :guild_id, :day, 'reserve', :units, 0, :now
        WHERE :units <= :daily_limit - (SELECT coalesce(sum(held + spent), 0) FROM balances WHERE user_id = :user_id AND day = :day)
        AND (:user_limit IS NULL OR :units <= :user_limit - (
            SELECT coalesce(sum(held + spent), 0) FROM balances WHERE guild_id = :guild_id AND user_id = :user_id AND day >= :since))
        AND (:server_limit IS NULL OR :units <= :server_limit - (
            SELECT coalesce(sum(held + spent), 0) FROM server_days WHERE guild_id = :guild_id AND day >= :since))""",
        vars(wanted),
    )
    return cursor.rowcount == 1


async def end(tx: Connection, job_id: str, charged: int, now: float) -> bool:
    """Release what a job holds and spend `charged` of it, on the day of its reservation.

    False, and no entry, when the job holds nothing (any more): ending twice is ending once.

    Raises:
        sqlite3.IntegrityError: `charged` is more than the job holds.
    """
    cursor = await tx.execute(
        """INSERT INTO ledger (job_id, user_id, guild_id, window_start, kind, held, spent, created_at)
        SELECT job_id, user_id, guild_id, window_start, :kind, -held, :charged, :now FROM ledger AS opened
        WHERE job_id = :job AND kind = 'reserve' AND NOT EXISTS (
            SELECT 1 FROM ledger WHERE job_id = :job AND kind IN ('settle', 'refund'))""",
        {"kind": "settle" if charged else "refund", "charged": charged, "now": now, "job": job_id},
    )
    return cursor.rowcount == 1


async def credit(tx: Connection, job_id: str, now: float) -> int:
    """Give back what an ended job was charged; the units, 0 when there was nothing to give (any more)."""
    rows = await tx.execute_fetchall(
        """INSERT INTO ledger (job_id, user_id, guild_id, window_start, kind, held, spent, created_at)
        SELECT job_id, user_id, guild_id, window_start, 'credit', 0, -spent, :now FROM ledger AS settled
        WHERE job_id = :job AND kind IN ('settle', 'refund') AND spent > 0
        AND NOT EXISTS (SELECT 1 FROM ledger WHERE job_id = :job AND kind = 'credit')
        RETURNING spent""",
        {"now": now, "job": job_id},
    )
    return -sum(int(row["spent"]) for row in rows)


async def of_user(db: Connection, user_id: int, day: float) -> Balance:
    """A person's day, all servers together."""
    return await _balance(db, "user_id = ? AND day = ?", (user_id, day))


async def of_member(db: Connection, guild_id: int | None, user_id: int, since: float) -> Balance:
    """A person's units in one server from the day `since`."""
    return await _balance(db, "guild_id = ? AND user_id = ? AND day >= ?", (guild_id or 0, user_id, since))


async def of_server(db: Connection, guild_id: int | None, since: float) -> Balance:
    """Everybody's units in one server from the day `since`."""
    return await _balance(db, "guild_id = ? AND day >= ?", (guild_id or 0, since), table="server_days")


async def days_of_user(db: Connection, user_id: int, since: float) -> dict[float, Balance]:
    """A person's days with anything on them."""
    sql = "SELECT day, sum(held) AS held, sum(spent) AS spent FROM balances WHERE user_id = ? AND day >= ? GROUP BY day"
    return {float(row["day"]): Balance(row["held"], row["spent"]) for row in await db.execute_fetchall(sql, (user_id, since))}


async def days_of_server(db: Connection, guild_id: int, since: float) -> dict[float, Balance]:
    """A server's days with anything on them."""
    sql = "SELECT day, held, spent FROM server_days WHERE guild_id = ? AND day >= ?"
    return {float(row["day"]): Balance(row["held"], row["spent"]) for row in await db.execute_fetchall(sql, (guild_id, since))}


async def people_of_server(db: Connection, guild_id: int, since: float) -> list[tuple[int, int]]:
    """Everybody who started a job in a server, who spent most first: (user id, units spent)."""
    sql = "SELECT user_id, sum(spent) AS spent FROM balances WHERE guild_id = ? AND day >= ? GROUP BY user_id ORDER BY 2 DESC, 1"
    return [(int(row["user_id"]), int(row["spent"])) for row in await db.execute_fetchall(sql, (guild_id, since))]


async def own_daily_limit(db: Connection, user_id: int) -> int | None:
    """Units per day that were set for this person; None: what their plan grants."""
    rows = await db.execute_fetchall("SELECT daily_units FROM users WHERE user_id = ?", (user_id,))
    return next((row["daily_units"] for row in rows), None)


async def remember_user(tx: Connection, user_id: int, display_name: str, now: float) -> None:
    """Note who a person is; a limit set for them is kept."""
    await tx.execute(
        """INSERT INTO users (user_id, display_name, seen_at) VALUES (?, ?, ?)
        ON CONFLICT (user_id) DO UPDATE SET display_name = excluded.display_name, seen_at = excluded.seen_at""",
        (user_id, display_name, now),
    )


async def _balance(db: Connection, where: str, values: tuple[object, ...], table: str = "balances") -> Balance:
    sql = f"SELECT coalesce(sum(held), 0) AS held, coalesce(sum(spent), 0) AS spent FROM {table} WHERE {where}"  # noqa: S608
    row = next(iter(await db.execute_fetchall(sql, values)))
    return Balance(held=row["held"], spent=row["spent"])
