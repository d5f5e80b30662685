"""Rows of `reports`: what people say is wrong with a result."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from sqlite3 import Row

from aiosqlite import Connection


class ReportReason(StrEnum):
    """What is wrong, in the reporter's choice."""

    LIKENESS = "likeness"  # it shows me, or somebody who did not agree
    MINOR = "minor"
    ADULT = "adult"
    HATE = "hate"
    RIGHTS = "rights"
    OTHER = "other"


class ReportState(StrEnum):
    """Open until somebody decides."""

    OPEN = "open"
    UPHELD = "upheld"
    DISMISSED = "dismissed"


@dataclass(frozen=True)
class ReportRecord:
    """One report."""

    report_id: str  # ULID
    job_id: str
    guild_id: int | None
    reporter_id: int
    reason: ReportReason
    note: str
    state: ReportState
    created_at: float
    decided_by: int | None = None
    decided_at: float | None = None


async def insert(tx: Connection, report: ReportRecord) -> bool:
    """Add a report; False when this person has reported this job before."""
    cursor = await tx.execute(
        """INSERT INTO reports (report_id, job_id, guild_id, reporter_id, reason, note, state, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (job_id, reporter_id) DO NOTHING""",
        (
            *(report.report_id, report.job_id, report.guild_id, report.reporter_id),
            *(report.reason, report.note, report.state, report.created_at),
        ),
    )
    return cursor.rowcount == 1


async def get(db: Connection, report_id: str) -> ReportRecord | None:
    """One report."""
    return next(map(_record, await db.execute_fetchall("SELECT * FROM reports WHERE report_id = ?", (report_id,))), None)


async def open_in(db: Connection, guild_id: int | None, limit: int) -> list[ReportRecord]:
    """Open reports of a server, or (None) of all, oldest first: they have waited longest."""
    rows = await db.execute_fetchall(
        "SELECT * FROM reports WHERE state = 'open' AND (:guild IS NULL OR guild_id = :guild) ORDER BY created_at LIMIT :limit",
        {"guild": guild_id, "limit": limit},
    )
    return [_record(row) for row in rows]


async def decide(tx: Connection, job_id: str, state: ReportState, decided_by: int, now: float) -> int:
    """Close every open report on a job; how many."""
    cursor = await tx.execute(
        "UPDATE reports SET state = ?, decided_by = ?, decided_at = ? WHERE job_id = ? AND state = 'open'", (state, decided_by, now, job_id)
    )
    return cursor.rowcount


def _record(row: Row) -> ReportRecord:
    return ReportRecord(
        report_id=row["report_id"],
        job_id=row["job_id"],
        guild_id=row["guild_id"],
        reporter_id=row["reporter_id"],
        reason=ReportReason(row["reason"]),
        note=row["note"],
        state=ReportState(row["state"]),
        created_at=row["created_at"],
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
    )
