"""What the live workers can do: pure questions over their announcements."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from bot.errors import Refusal, RefusalCode
from engine.contracts.bases import BASES
from engine.contracts.jobs import GenerateVideo, TrainLora, lane_of
from engine.contracts.status import SHARED, Lane, WorkerState, WorkerStatus
from engine.contracts.versions import version_needed


class Lack(StrEnum):
    """What the workers that are up do not have."""

    LANE = "lane"  # none of them does this kind of work
    MEMORY = "memory"  # none of them has enough
    VERSION = "version"  # all of them are of an older version


def live(workers: Sequence[WorkerStatus], base: str, lane: Lane, pool: str = SHARED) -> int:
    """Workers that serve a lane of a pool now."""
    return len(live_versions(workers, base, lane, pool))


def live_versions(workers: Sequence[WorkerStatus], base: str, lane: Lane, pool: str = SHARED) -> list[int]:
    """The contract versions of those workers."""
    able = [worker for worker in workers if worker.can_run(base, lane, pool, memory_bytes=_memory(base, lane))]
    return [worker.contract_version for worker in able if worker.state is WorkerState.READY]


def refuse_hopeless(workers: Sequence[WorkerStatus], job: TrainLora | GenerateVideo, pool: str) -> None:
    """Say so now when workers are up and none of them will ever run `job`. With no worker at all it waits for one.

    Raises:
        Refusal: NOBODY_SERVES.
    """
    base, lane, memory = job.base, lane_of(job), _memory(job.base, lane_of(job))
    up = [worker for worker in workers if worker.base == base]
    if not up:
        return
    able = [worker for worker in up if lane in worker.lanes]
    if not able:
        raise Refusal(RefusalCode.NOBODY_SERVES, lack=Lack.LANE, lane=lane)
    able = [worker for worker in able if pool in worker.serves]
    if not able:
        return  # a server's own workers may be away for a restart, whoever else is up
    able = [worker for worker in able if worker.can_run(base, lane, pool, memory_bytes=memory)]
    if not able:
        raise Refusal(RefusalCode.NOBODY_SERVES, lack=Lack.MEMORY, lane=lane)
    if all(worker.contract_version < version_needed(job) for worker in able):
        raise Refusal(RefusalCode.NOBODY_SERVES, lack=Lack.VERSION, lane=lane)


def _memory(base: str, lane: Lane) -> int:
    profile = BASES.get(base)
    return profile.memory_bytes.get(lane, 0) if profile else 0
