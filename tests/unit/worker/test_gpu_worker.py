"""When a lane looks for its next job."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from engine.contracts.status import Lane
from worker.gpu_worker import GpuWorker
from worker.lease import Lease, LeaseBook


class _Claims:
    """A lease book whose claims are written down beforehand: a job's id, or None for an empty queue; empty at their end."""

    redis = None
    lease_s = 15.0

    def __init__(self, *found: str | None) -> None:
        self.found = list(found)
        self.asked = 0

    async def claim(self, queues: tuple[str, ...]) -> Lease | None:
        self.asked += 1
        job_id = self.found.pop(0) if self.found else None
        return None if job_id is None else Lease(job_id=job_id, queue=queues[0], score=0, token="t", device_free=True)


def _lane(claims: _Claims, job_takes_s: float) -> tuple[GpuWorker, list[str]]:
    async def nothing(*_: object) -> None:
        return None

    async def task(*_: object) -> dict[str, Any]:
        return {}

    worker = GpuWorker(
        lane=Lane.RENDER,
        queues=("q",),
        book=cast("LeaseBook", claims),
        task=task,
        unreadable=nothing,
        ended=nothing,
        ahead=nothing,
        ready=lambda: True,
        poll_s=0.2,
    )
    ran: list[str] = []

    async def run_job(job_id: str, _score: int) -> None:
        ran.append(job_id)
        await asyncio.sleep(job_takes_s)

    cast("Any", worker).run_job = run_job
    cast("Any", worker)._look_ahead = nothing
    worker.loop = asyncio.get_running_loop()
    return worker, ran


async def test_lane_that_ended_a_short_job_looks_again_before_its_usual_pause() -> None:
    """The next job is handed out a few milliseconds after the last one ended, not just when the lane looks: it is found all the same."""
    claims = _Claims("a", None, None, "b")
    worker, ran = _lane(claims, job_takes_s=0.0)
    await worker._poll_iteration()
    assert ran == ["a", "b"]


async def test_lane_soon_leaves_an_empty_queue_to_its_usual_rhythm() -> None:
    """Pauses double, so that a fleet of idle lanes does not wear Redis out."""
    claims = _Claims("a")
    worker, _ = _lane(claims, job_takes_s=0.0)
    await worker._poll_iteration()
    assert 3 < claims.asked < 12
    asked = claims.asked
    await worker._poll_iteration()
    assert claims.asked == asked + 1


async def test_nobody_hurries_after_a_long_job() -> None:
    """While a job runs, its lane asks once and goes back to its rhythm."""
    claims = _Claims("a")
    worker, ran = _lane(claims, job_takes_s=0.5)
    await worker._poll_iteration()
    assert (ran, claims.asked) == (["a"], 2)
    await asyncio.gather(*worker.tasks.values())
