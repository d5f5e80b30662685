"""Old and new workers on one queue: an upgrade of a fleet, one machine after the other."""

from __future__ import annotations

import sys

from engine.contracts import wire
from engine.contracts.events import JobFailed, JobStarted, JobSucceeded
from engine.contracts.generation import Quality
from engine.contracts.jobs import GenerateVideo
from engine.contracts.status import Lane, WorkerStatus
from engine.contracts.versions import encode, version_needed
from tests.support.contracts import generate_video
from tests.support.workers import KEYS, Studio, eventually, new_job_id

OLD = (sys.executable, "-m", "tests.support.old_worker")


async def _both_up(studio: Studio, *names: str) -> dict[str, WorkerStatus]:
    async def announced() -> dict[str, WorkerStatus] | None:
        raw = await studio.redis.hgetall(KEYS.workers)
        found = {name.decode(): WorkerStatus.model_validate_json(value) for name, value in raw.items()}
        return found if set(names) <= {name for name, status in found.items() if status.state == "ready"} else None

    return await eventually(announced)


def _newer() -> GenerateVideo:
    """A clip that says something version 1 has no word for."""
    return generate_video(job_id=new_job_id(), quality=Quality.FAST)


async def test_old_and_new_worker_serve_side_by_side_when_a_fleet_is_upgraded(studio: Studio) -> None:
    """Both take ordinary work; what needs the new version runs there, nothing fails, nothing runs twice."""
    await studio.worker("old", command=OLD)
    await studio.worker("new")
    up = await _both_up(studio, "old", "new")
    assert (up["old"].contract_version, up["new"].contract_version) == (1, wire.CONTRACT_VERSION)
    ordinary = [await studio.enqueue(generate_video(job_id=new_job_id())) for _ in range(8)]
    newer = [await studio.enqueue(_newer()) for _ in range(3)]
    by: dict[str, str] = {}
    for job_id in [*ordinary, *newer]:
        assert isinstance(await studio.ending(job_id), JobSucceeded)
        by[job_id] = (await studio.event(job_id, JobStarted)).worker_id
        assert len(await studio.endings(job_id)) == 1
    assert {by[job_id] for job_id in ordinary} == {"old", "new"}
    assert {by[job_id] for job_id in newer} == {"new"}


async def test_job_too_new_for_a_worker_goes_back_to_its_queue_when_it_comes_there(studio: Studio) -> None:
    """A worker that can't read a job leaves it to those who can; no try is used up, nothing is told to anybody."""
    await studio.worker("old", command=OLD)
    await _both_up(studio, "old")
    job = _newer()
    assert version_needed(job) == wire.CONTRACT_VERSION
    await studio.redis.enqueue_job(
        wire.TASK, encode(job), _job_id=job.job_id, _queue_name=KEYS.queue(job.base, Lane.RENDER), _expires=wire.JOB_EXPIRES_S
    )
    await eventually(lambda: studio.redis.hexists(KEYS.tries(job.job_id), "not_before"))
    assert await studio.events(job.job_id) == []
    ordinary = await studio.enqueue(generate_video(job_id=new_job_id()))
    assert isinstance(await studio.ending(ordinary), JobSucceeded)
    await studio.worker("new")
    assert isinstance(await studio.ending(job.job_id), JobSucceeded)
    assert not [event for event in await studio.events(job.job_id) if isinstance(event, JobFailed)]
    assert (await studio.redis.hget(KEYS.tries(job.job_id), "crashed")) == b"0"
