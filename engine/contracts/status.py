"""The life of a job and of a worker, as every process names them."""

from __future__ import annotations

from enum import StrEnum

from engine.contracts.model import Contract


class JobStatus(StrEnum):
    """`queued -> dispatched -> running -> succeeded | failed | cancelled`; a lost job goes back to `queued`."""

    QUEUED = "queued"  # a row in SQLite, nothing in Redis yet
    DISPATCHED = "dispatched"  # handed to arq, no worker has started it
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """True once nothing more will happen to the job."""
        return self in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)

    @property
    def sources(self) -> tuple[JobStatus, ...]:
        """The statuses a job may have just before this one; the `WHERE status IN (…)` of every transition."""
        return _SOURCES[self]


_OPEN = (JobStatus.QUEUED, JobStatus.DISPATCHED, JobStatus.RUNNING)
_SOURCES: dict[JobStatus, tuple[JobStatus, ...]] = {
    JobStatus.QUEUED: (JobStatus.DISPATCHED, JobStatus.RUNNING),
    JobStatus.DISPATCHED: (JobStatus.QUEUED,),
    JobStatus.RUNNING: (JobStatus.QUEUED, JobStatus.DISPATCHED, JobStatus.RUNNING),
    JobStatus.SUCCEEDED: _OPEN,
    JobStatus.FAILED: _OPEN,
    JobStatus.CANCELLED: _OPEN,
}


class Lane(StrEnum):
    """The two kinds of work one GPU child interleaves; each lane runs one job at a time."""

    TRAIN = "train"
    RENDER = "render"


SHARED = "shared"
"""The pool of workers that serve everybody."""


def pool_of(guild_id: int) -> str:
    """The pool of workers that one server has for itself."""
    return f"guild:{guild_id}"


class WorkerState(StrEnum):
    """Health of a worker's GPU child as its parent sees it."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    BROKEN = "broken"


class WorkerStatus(Contract):
    """What a worker announces about itself in Redis every few seconds (`wire.Keys.worker`)."""

    worker_id: str
    state: WorkerState
    base: str
    lanes: tuple[Lane, ...]
    busy: dict[Lane, str]  # lane -> job id
    contract_version: int
    device: str
    started_at: float  # unix seconds
    serves: tuple[str, ...] = (SHARED,)  # pools, the preferred one first
    memory_bytes: int | None = None  # of the device; None: not known

    def can_run(self, base: str, lane: Lane, pool: str = SHARED, version: int = 1, memory_bytes: int = 0) -> bool:
        """True when the worker is of the right kind for such a job, whatever its state."""
        return (
            self.base == base
            and lane in self.lanes
            and pool in self.serves
            and self.contract_version >= version
            and (self.memory_bytes is None or self.memory_bytes >= memory_bytes)
        )
