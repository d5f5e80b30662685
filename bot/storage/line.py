"""The line of every lane over `jobs` and `lanes`: who waits, in which order, what runs, and how fast.

A lane is one kind of work for one base in one pool of workers; `bot.services.scheduling` says what the order means.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiosqlite import Connection

from bot.storage import jobs
from bot.storage.jobs import JobRecord
from engine.contracts.status import Lane

_MAY_RUN = """(max_running IS NULL OR max_running > (SELECT count(*) FROM jobs AS theirs WHERE theirs.owner_id = jobs.owner_id
    AND theirs.finished_at IS NULL AND theirs.guild_id IS jobs.guild_id AND theirs.status IN ('dispatched', 'running')))"""


@dataclass(frozen=True)
class Neighbourhood:
    """What waits in a lane when a job is submitted to it."""

    ahead_s: float  # how far the lane's clock is before real time
    owner_due: float | None  # latest due time among the owner's waiting jobs
    owner_waiting: int
    server_waiting: int  # the server's waiting jobs whose `turn` is not greater than `owner_waiting`, counted up to a limit


async def neighbourhood(
    db: Connection, *, base: str, lane: Lane, pool: str, owner_id: int, guild_id: int | None, count_to: int
) -> Neighbourhood:
    """Facts for the place of a new job; the server's jobs are counted up to `count_to`."""
    where = {"base": base, "lane": lane, "pool": pool, "owner": owner_id, "guild": guild_id, "limit": count_to}
    rows = await db.execute_fetchall(
        """SELECT (SELECT ahead_s FROM lanes WHERE base = :base AND lane = :lane AND pool = :pool) AS ahead_s,
            max(fair_due) AS due, count(*) AS waiting FROM jobs INDEXED BY jobs_of_owner
        WHERE owner_id = :owner AND finished_at IS NULL AND base = :base AND lane = :lane AND pool = :pool AND status = 'queued'""",
        where,
    )
    own = next(iter(rows))
    counted = await db.execute_fetchall(
        """SELECT count(*) AS waiting FROM (SELECT 1 FROM jobs WHERE guild_id = :guild AND base = :base AND lane = :lane AND pool = :pool
            AND status = 'queued' AND turn <= :turn LIMIT :limit)""",
        where | {"turn": own["waiting"]},
    )
    return Neighbourhood(own["ahead_s"] or 0.0, own["due"], own["waiting"], next(iter(counted))["waiting"])


async def waiting(db: Connection, base: str, lane: Lane, pool: str, limit: int, up_to_version: int) -> list[JobRecord]:
    """Queued jobs of a lane in the order they will be handed out, without those that need a later contract version.

    Those whose owner has as many jobs at work as their server lets one person have are passed over, too.
    """
    where = f"""base = ? AND lane = ? AND pool = ? AND status = 'queued' AND contract_version <= ?
        AND {_MAY_RUN} ORDER BY fair_start, job_id LIMIT ?"""
    return await jobs.select(db, where, (base, lane, pool, up_to_version, limit))


async def may_run(tx: Connection, job_id: str) -> bool:
    """False while the owner of a job has as many jobs at work as their server lets one person have."""
    return bool(list(await tx.execute_fetchall(f"SELECT 1 FROM jobs WHERE job_id = ? AND {_MAY_RUN}", (job_id,))))  # noqa: S608


async def waiting_lanes(db: Connection) -> list[tuple[str, Lane, str]]:
    """Every (base, lane, pool) that has queued jobs."""
    rows = await db.execute_fetchall(
        """SELECT base, lane, pool FROM lanes WHERE EXISTS (SELECT 1 FROM jobs WHERE jobs.base = lanes.base AND jobs.lane = lanes.lane
            AND jobs.pool = lanes.pool AND status = 'queued')"""
    )
    return [(row["base"], Lane(row["lane"]), row["pool"]) for row in rows]


async def handed_out(db: Connection, base: str, lane: Lane, pool: str) -> dict[int, int]:
    """Jobs of a lane that arq has (dispatched or running): contract version they need -> how many."""
    rows = await db.execute_fetchall(
        """SELECT contract_version, count(*) AS jobs FROM jobs
        WHERE base = ? AND lane = ? AND pool = ? AND status IN ('dispatched', 'running') GROUP BY contract_version""",
        (base, lane, pool),
    )
    return {row["contract_version"]: row["jobs"] for row in rows}


async def due_to_spill(db: Connection, now: float, limit: int) -> list[JobRecord]:
    """Queued jobs that have waited long enough for their server's own workers."""
    return await jobs.select(db, "status = 'queued' AND spill_at IS NOT NULL AND spill_at <= ? ORDER BY spill_at LIMIT ?", (now, limit))


async def move_pool(tx: Connection, job_id: str, pool: str, fair_start: float, fair_due: float, turn: int) -> None:
    """Let a job wait in another pool, at a place of its own there."""
    await tx.execute(
        """INSERT INTO lanes (base, lane, pool) SELECT base, lane, ? FROM jobs WHERE job_id = ? ON CONFLICT DO NOTHING""", (pool, job_id)
    )
    await tx.execute(
        """UPDATE jobs SET pool = ?, fair_start = ?, fair_due = ?, turn = ?, spill_at = NULL WHERE job_id = ? AND status = 'queued'""",
        (pool, fair_start, fair_due, turn, job_id),
    )


async def ahead_of(db: Connection, job_id: str, count_to: int) -> tuple[int, int]:
    """How many jobs go before a queued or dispatched one in its lane, and the units they cost; counted up to `count_to`."""
    rows = await db.execute_fetchall(
        """SELECT count(*) AS jobs, coalesce(sum(units), 0) AS units FROM (
            SELECT other.units AS units
            FROM jobs AS mine CROSS JOIN jobs AS other ON other.base = mine.base AND other.lane = mine.lane AND other.pool = mine.pool
            WHERE mine.job_id = :job AND other.status = 'dispatched'
                AND (mine.status = 'queued' OR (other.fair_start, other.job_id) < (mine.fair_start, mine.job_id))
            UNION ALL
            SELECT other.units
            FROM jobs AS mine CROSS JOIN jobs AS other ON other.base = mine.base AND other.lane = mine.lane AND other.pool = mine.pool
            WHERE mine.job_id = :job AND mine.status = 'queued' AND other.status = 'queued'
                AND (other.fair_start, other.job_id) < (mine.fair_start, mine.job_id)
            LIMIT :count_to)""",
        {"job": job_id, "count_to": count_to},
    )
    row = next(iter(rows))
    return row["jobs"], row["units"]


async def places(db: Connection, base: str, lane: Lane, pool: str) -> list[tuple[float, int]]:
    """Place in the order, and units, of every waiting job of a lane."""
    sql = "SELECT fair_start, units FROM jobs WHERE base = ? AND lane = ? AND pool = ? AND status = 'queued' ORDER BY fair_start"
    return [(row["fair_start"], row["units"]) for row in await db.execute_fetchall(sql, (base, lane, pool))]


async def ahead_of_each(db: Connection, base: str, lane: Lane, pool: str) -> dict[str, tuple[int, int]]:
    """`ahead_of` for every queued and dispatched job of a lane at once."""
    rows = await db.execute_fetchall(
        """SELECT job_id, row_number() OVER line - 1 AS jobs, sum(units) OVER line - units AS units FROM jobs
        WHERE base = ? AND lane = ? AND pool = ? AND status IN ('dispatched', 'queued')
        WINDOW line AS (ORDER BY status = 'queued', fair_start, job_id ROWS UNBOUNDED PRECEDING)""",
        (base, lane, pool),
    )
    return {row["job_id"]: (row["jobs"], row["units"]) for row in rows}


async def running(db: Connection, base: str, lane: Lane, pool: str) -> list[tuple[int, float]]:
    """Units and start of the jobs that run in a lane."""
    rows = await db.execute_fetchall(
        """SELECT units, coalesce(started_at, created_at) AS began FROM jobs
        WHERE base = ? AND lane = ? AND pool = ? AND status = 'running'""",
        (base, lane, pool),
    )
    return [(row["units"], row["began"]) for row in rows]


async def seconds_per_unit(db: Connection, base: str, lane: Lane, last: int = 20) -> float | None:
    """Measured pace of a lane over its latest successes; None before the first."""
    rows = await db.execute_fetchall(
        """SELECT sum(finished_at - started_at) AS seconds, sum(units) AS units FROM (
            SELECT finished_at, started_at, units FROM jobs
            WHERE base = ? AND lane = ? AND status = 'succeeded' AND started_at IS NOT NULL ORDER BY finished_at DESC LIMIT ?)""",
        (base, lane, last),
    )
    row = next(iter(rows))
    return row["seconds"] / row["units"] if row["units"] else None
