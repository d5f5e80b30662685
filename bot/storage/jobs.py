"""Rows of `jobs`."""

from __future__ import annotations

from dataclasses import dataclass

from engine.contracts.failures import FailureCode
from engine.contracts.jobs import GenerateVideo, TrainLora
from engine.contracts.model import StoredObject
from engine.contracts.results import LoraTrained, VideoRendered
from engine.contracts.status import JobStatus, Lane


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
    posted_message_id: int | None  # the result's message
    deleted: bool  # the owner deleted the result
