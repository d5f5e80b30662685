"""Rows of `jobs`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Row

from aiosqlite import Connection
from pydantic import TypeAdapter

from engine.contracts.failures import FailureCode
from engine.contracts.jobs import JOB_ADAPTER, GenerateVideo, TrainLora, lane_of
from engine.contracts.model import StoredObject
from engine.contracts.results import JobResult, LoraTrained, VideoRendered
from engine.contracts.status import SHARED, JobStatus, Lane


@dataclass(frozen=True)
class JobRecord:
    """One job as SQLite knows it. Times are unix seconds."""

    job_id: str
    job: TrainLora | GenerateVideo
    lane: Lane
    base: str
    status: JobStatus
    owner_id: int
    owner_name: str
    guild_id: int | None
    channel_id: int
    interaction_id: int
    units: int  # reserved at submit
    units_charged: int | None  # None while open
    created_at: float
    dispatched_at: float | None
    started_at: float | None
    finished_at: float | None
    attempt: int
    worker_id: str | None
    steps_done: int
    total_steps: int
    cancel_requested: bool
    failure: FailureCode | None
    failure_detail: str | None
    result: LoraTrained | VideoRendered | None
    preview: StoredObject | None  # latest picture of a training
    posted_channel_id: int | None  # where the result's message is: the job's channel, its parent, or a direct message
    posted_message_id: int | None  # the result's message
    deleted: bool  # the owner deleted the result
    adult_channel: bool = False  # where it was made is marked for adults
    withheld: str | None = None  # why its result may not be seen: "adult", "takedown", "unchecked"
    plan: str = "free"  # of the owner, there and then
    pool: str = SHARED  # workers that may run it
    fair_start: float = 0.0  # place in the order of its lane, see `bot.services.scheduling`
    losses: int = 0  # times Redis lost it


@dataclass(frozen=True)
class NewJob:
    """What a submit writes; the rest of the row has its defaults."""

    job: TrainLora | GenerateVideo
    owner_id: int
    owner_name: str
    guild_id: int | None
    channel_id: int
    interaction_id: int
    units: int
    created_at: float
    plan: str = "free"
    pool: str = SHARED
    turn: int = 0
    fair_due: float = 0.0
    fair_start: float = 0.0
    contract_version: int = 1
    adult_channel: bool = False
    spill_at: float | None = None
    max_running: int | None = None  # of this person's jobs in this server at once; None: no limit of the server's


async def insert(tx: Connection, new: NewJob) -> None:
    """Insert a queued job at its place in the order of its lane."""
    job, lane = new.job, lane_of(new.job)
    await tx.execute("INSERT INTO lanes (base, lane, pool) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (job.base, lane, new.pool))
    await tx.execute(
        """INSERT INTO jobs (job_id, kind, lane, base, status, request, owner_id, owner_name, guild_id, channel_id, interaction_id,
            units, plan, pool, turn, fair_start, fair_due, contract_version, spill_at, created_at, max_running, adult_channel)
        VALUES (?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            *(job.job_id, job.kind, lane, job.base, job.model_dump_json(), new.owner_id, new.owner_name, new.guild_id, new.channel_id),
            *(new.interaction_id, new.units, new.plan, new.pool, new.turn, new.fair_start, new.fair_due),
            *(new.contract_version, new.spill_at, new.created_at, new.max_running, int(new.adult_channel)),
        ),
    )


async def get(db: Connection, job_id: str) -> JobRecord | None:
    """One job."""
    return await _one(db, "SELECT * FROM jobs WHERE job_id = ?", (job_id,))


async def belongs_to(db: Connection, job_id: str) -> tuple[int, int | None] | None:
    """Owner and server of a job."""
    rows = await db.execute_fetchall("SELECT owner_id, guild_id FROM jobs WHERE job_id = ?", (job_id,))
    return next(((row["owner_id"], row["guild_id"]) for row in rows), None)


async def get_many(db: Connection, job_ids: Sequence[str]) -> list[JobRecord]:
    """Those jobs that exist, in any order."""
    return await _many(db, "SELECT * FROM jobs WHERE job_id IN (SELECT value FROM json_each(?))", (json.dumps(list(job_ids)),))


async def of_interaction(db: Connection, interaction_id: int) -> JobRecord | None:
    """The job an interaction made."""
    return await _one(db, "SELECT * FROM jobs WHERE interaction_id = ?", (interaction_id,))


async def of_owner(db: Connection, owner_id: int, limit: int) -> list[JobRecord]:
    """Open jobs first, then the latest finished ones."""
    return await _many(
        db,
        "SELECT * FROM jobs WHERE owner_id = ? ORDER BY finished_at IS NOT NULL, coalesce(finished_at, created_at) DESC LIMIT ?",
        (owner_id, limit),
    )


async def select(db: Connection, where: str, values: Sequence[object]) -> list[JobRecord]:
    """Jobs by a condition of a sibling module; `where` is a constant there, never typed text."""
    return await _many(db, f"SELECT * FROM jobs WHERE {where}", values)  # noqa: S608


async def note_credited(tx: Connection, job_id: str) -> None:
    """What an ended job was charged was given back."""
    await tx.execute("UPDATE jobs SET units_charged = 0 WHERE job_id = ? AND finished_at IS NOT NULL", (job_id,))


async def count_open(db: Connection, owner_id: int) -> int:
    """Jobs of one person that have not ended."""
    return int(await _number(db, "SELECT count(*) FROM jobs WHERE owner_id = ? AND finished_at IS NULL", (owner_id,)))


async def count_waiting(db: Connection, owner_id: int, guild_id: int | None) -> int:
    """Jobs of one person in one server that no worker has begun."""
    sql = "SELECT count(*) FROM jobs WHERE owner_id = ? AND finished_at IS NULL AND guild_id IS ? AND status <> 'running'"
    return int(await _number(db, sql, (owner_id, guild_id)))


async def open_jobs(db: Connection, *statuses: JobStatus) -> list[JobRecord]:
    """Every job in one of `statuses`, oldest first."""
    marks = ", ".join("?" * len(statuses))
    # the index over open jobs is only used when the query says so itself
    return await _many(db, f"SELECT * FROM jobs WHERE finished_at IS NULL AND status IN ({marks}) ORDER BY job_id", statuses)  # noqa: S608


async def mark_dispatched(tx: Connection, job_id: str, now: float) -> bool:
    """`queued -> dispatched`; a job that was not due yet moves the lane's clock ahead. False when the job is no longer queued."""
    if not await _move(tx, job_id, JobStatus.DISPATCHED, "dispatched_at = ?", (now,)):
        return False
    await tx.execute(
        """UPDATE lanes SET ahead_s = max(lanes.ahead_s, jobs.fair_due - ?) FROM jobs
        WHERE job_id = ? AND lanes.base = jobs.base AND lanes.lane = jobs.lane AND lanes.pool = jobs.pool""",
        (now, job_id),
    )
    return True


async def mark_lost(tx: Connection, job_id: str) -> bool:
    """`dispatched | running -> queued`: Redis lost the job. The attempt number stays, the next attempt is a higher one."""
    return await _move(tx, job_id, JobStatus.QUEUED, "losses = losses + 1, worker_id = NULL", ())


async def mark_waiting(tx: Connection, job_id: str) -> bool:
    """`dispatched | running -> queued` for a job that arq still has: its worker is gone, another one will take it."""
    return await _move(tx, job_id, JobStatus.QUEUED, "worker_id = NULL", ())


async def mark_running(tx: Connection, job_id: str, *, worker_id: str, attempt: int, total_steps: int, now: float) -> bool:
    """A worker began; the first start is kept."""
    return await _move(
        tx,
        job_id,
        JobStatus.RUNNING,
        "worker_id = ?, attempt = ?, total_steps = ?, started_at = coalesce(started_at, ?)",
        (worker_id, attempt, total_steps, now),
    )


async def accept_event(tx: Connection, job_id: str, attempt: int, seq: int) -> bool:
    """Note `(attempt, seq)` as the newest event of an open job; False for a repeat, a late one, or a job that has ended."""
    cursor = await tx.execute(
        "UPDATE jobs SET attempt = ?, last_seq = ? WHERE job_id = ? AND finished_at IS NULL AND (attempt, last_seq) < (?, ?)",
        (attempt, seq, job_id, attempt, seq),
    )
    return cursor.rowcount == 1


async def note_steps(tx: Connection, job_id: str, steps_done: int) -> None:
    """Training has got this far."""
    await tx.execute("UPDATE jobs SET steps_done = max(steps_done, ?) WHERE job_id = ?", (steps_done, job_id))


async def note_preview(tx: Connection, job_id: str, image: StoredObject) -> None:
    """The latest picture of a training."""
    await tx.execute("UPDATE jobs SET preview = ? WHERE job_id = ?", (image.model_dump_json(), job_id))


async def request_cancel(tx: Connection, job_id: str) -> None:
    """Somebody asked; kept until the job ends, so that it outlives any outage."""
    await tx.execute("UPDATE jobs SET cancel_requested = 1 WHERE job_id = ? AND finished_at IS NULL", (job_id,))


@dataclass(frozen=True)
class Ending:
    """How a job ended."""

    status: JobStatus
    units_charged: int
    finished_at: float
    steps_done: int | None = None
    result: LoraTrained | VideoRendered | None = None
    failure: FailureCode | None = None
    failure_detail: str | None = None


async def finish(tx: Connection, job_id: str, ending: Ending) -> bool:
    """Move to a terminal status; False when the job had ended before."""
    return await _move(
        tx,
        job_id,
        ending.status,
        "units_charged = ?, finished_at = ?, steps_done = coalesce(?, steps_done), result = ?, failure = ?, failure_detail = ?",
        (
            *(ending.units_charged, ending.finished_at, ending.steps_done),
            *(ending.result.model_dump_json() if ending.result else None, ending.failure, ending.failure_detail),
        ),
    )


async def made_at(db: Connection, sha256: str) -> float | None:
    """When the job ended whose clip, or whose LoRA's preview, has exactly this content; None when there is none."""
    rows = await db.execute_fetchall(
        # two looks, each with its own index: with OR in one condition every result would be read
        """SELECT min(finished_at) AS at FROM (
            SELECT finished_at FROM jobs WHERE result IS NOT NULL AND json_extract(result, '$.file.sha256') = :sha256
            UNION ALL
            SELECT finished_at FROM jobs WHERE result IS NOT NULL AND json_extract(result, '$.preview.sha256') = :sha256)""",
        {"sha256": sha256},
    )
    return next((row["at"] for row in rows), None)


async def note_posted(tx: Connection, job_id: str, channel_id: int, message_id: int) -> None:
    """The result's message."""
    await tx.execute("UPDATE jobs SET posted_channel_id = ?, posted_message_id = ? WHERE job_id = ?", (channel_id, message_id, job_id))


async def withhold(tx: Connection, job_id: str, reason: str) -> None:
    """Nobody may see the result: "adult", "takedown" or "unchecked"."""
    await tx.execute("UPDATE jobs SET withheld = ? WHERE job_id = ?", (reason, job_id))


async def with_content(db: Connection, hashes: Sequence[str]) -> list[JobRecord]:
    """Jobs whose clip or weights are one of these files, byte for byte."""
    return await _many(
        db,
        """SELECT * FROM jobs WHERE json_extract(result, '$.file.sha256') IN (SELECT value FROM json_each(?))
        AND result IS NOT NULL""",
        (json.dumps(list(hashes)),),
    )


async def of_message(db: Connection, message_id: int) -> str | None:
    """The job that a result's message or a status card belongs to."""
    rows = await db.execute_fetchall(
        "SELECT job_id FROM jobs WHERE posted_message_id = :message UNION SELECT job_id FROM cards WHERE message_id = :message",
        {"message": message_id},
    )
    return next((str(row["job_id"]) for row in rows), None)


async def forget_post(tx: Connection, job_id: str) -> None:
    """The result's message is gone; what it showed is not."""
    await tx.execute("UPDATE jobs SET posted_channel_id = NULL, posted_message_id = NULL WHERE job_id = ?", (job_id,))


async def mark_deleted(tx: Connection, job_id: str) -> None:
    """The owner deleted what the job left."""
    await tx.execute("UPDATE jobs SET deleted = 1 WHERE job_id = ?", (job_id,))


async def losses(db: Connection, job_id: str) -> int:
    """How often the job was lost."""
    return int(await _number(db, "SELECT losses FROM jobs WHERE job_id = ?", (job_id,)))


async def _move(tx: Connection, job_id: str, to: JobStatus, changes: str, values: tuple[object, ...]) -> bool:
    """The one writer of `status`: only along the arrows of `JobStatus.sources`."""
    marks = ", ".join("?" * len(to.sources))
    sql = f"UPDATE jobs SET status = ?, {changes} WHERE job_id = ? AND status IN ({marks})"  # noqa: S608 - constants of this module
    cursor = await tx.execute(sql, (to, *values, job_id, *to.sources))
    return cursor.rowcount == 1


async def _one(db: Connection, sql: str, values: Sequence[object]) -> JobRecord | None:
    records = await _many(db, sql, values)
    return records[0] if records else None


async def _many(db: Connection, sql: str, values: Sequence[object]) -> list[JobRecord]:
    return [_record(row) for row in await db.execute_fetchall(sql, values)]


async def _number(db: Connection, sql: str, values: Sequence[object] | Mapping[str, object]) -> float:
    rows = await db.execute_fetchall(sql, values)
    for row in rows:
        return float(row[0])
    return 0.0


def _record(row: Row) -> JobRecord:
    result, preview, failure = row["result"], row["preview"], row["failure"]
    return JobRecord(
        job_id=row["job_id"],
        job=JOB_ADAPTER.validate_json(row["request"]),
        lane=Lane(row["lane"]),
        base=row["base"],
        status=JobStatus(row["status"]),
        owner_id=row["owner_id"],
        owner_name=row["owner_name"],
        guild_id=row["guild_id"],
        channel_id=row["channel_id"],
        interaction_id=row["interaction_id"],
        units=row["units"],
        units_charged=row["units_charged"],
        created_at=row["created_at"],
        dispatched_at=row["dispatched_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        attempt=row["attempt"],
        worker_id=row["worker_id"],
        steps_done=row["steps_done"],
        total_steps=row["total_steps"],
        cancel_requested=bool(row["cancel_requested"]),
        failure=FailureCode(failure) if failure is not None else None,
        failure_detail=row["failure_detail"],
        result=_RESULT.validate_json(result) if result is not None else None,
        preview=StoredObject.model_validate_json(preview) if preview is not None else None,
        posted_channel_id=row["posted_channel_id"],
        posted_message_id=row["posted_message_id"],
        deleted=bool(row["deleted"]),
        adult_channel=bool(row["adult_channel"]),
        withheld=row["withheld"],
        plan=row["plan"],
        pool=row["pool"],
        fair_start=row["fair_start"],
        losses=row["losses"],
    )


_RESULT: TypeAdapter[LoraTrained | VideoRendered] = TypeAdapter(JobResult)
