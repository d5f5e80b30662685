"""A worker whose disk is full: it leaves jobs to others, goes on when there is room, and what it broke off is done elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine.contracts.events import JobStarted, JobSucceeded
from engine.contracts.status import WorkerState
from tests.support import small_disk
from tests.support.contracts import adapter_use, generate_video
from tests.support.workers import Studio, WorkerProcess, eventually, new_job_id

own_disk = pytest.mark.skipif(not small_disk.possible(), reason="this machine lets nobody mount a file system of their own")


async def test_worker_without_room_says_so_and_takes_no_job(studio: Studio) -> None:
    """The bot counts it out, and a job waits for one that has room."""
    worker = await studio.worker("w1", CALLSHEET_LEAST_FREE_BYTES=str(2**62))
    await studio.announced("w1", WorkerState.BROKEN)
    job_id = await studio.enqueue(generate_video(job_id=new_job_id()))
    await studio.worker("w2")
    assert (await studio.event(job_id, JobStarted)).worker_id == "w2"
    assert "no job is taken until there is room" in worker.log.read_text()


@own_disk
async def test_worker_goes_on_when_its_full_disk_has_room_again(studio: Studio) -> None:
    """Nothing is tried in vain meanwhile."""
    disk = await _on_small_disk(studio, CALLSHEET_LEAST_FREE_BYTES=str(2**20))
    await asyncio.to_thread(disk.fill)
    await studio.announced("w1", WorkerState.BROKEN)
    job_id = await studio.enqueue(generate_video(job_id=new_job_id()))
    disk.free()
    event = await studio.ending(job_id)
    assert (type(event), event.attempt) == (JobSucceeded, 1)


@own_disk
async def test_cache_makes_room_when_the_disk_is_full(studio: Studio) -> None:
    """Downloads kept for reuse are the first to go, so a long life does not end in a full disk."""
    disk = await _on_small_disk(studio, CALLSHEET_LEAST_FREE_BYTES=str(6 * 2**20))
    lora = await studio.put("loras/1/a.safetensors", "x" * (3 * 2**20), "application/x-safetensors")
    first = await studio.enqueue(generate_video(job_id=new_job_id(), adapters=(adapter_use(file=lora),)))
    assert isinstance(await studio.ending(first), JobSucceeded)
    await eventually(lambda: disk.folder("w1/cache") == [])
    second = await studio.enqueue(generate_video(job_id=new_job_id()))
    assert isinstance(await studio.ending(second), JobSucceeded)


@own_disk
async def test_job_that_runs_into_a_full_disk_is_done_by_another_worker(studio: Studio) -> None:
    """The worker that failed it rests longer each time, so it does not eat the job's tries, nor those of the jobs behind it."""
    disk = await _on_small_disk(studio, CALLSHEET_LEAST_FREE_BYTES="0", CALLSHEET_MAX_ATTEMPTS="20", CALLSHEET_RETRY_DELAY_S="0.2")
    await asyncio.to_thread(disk.fill)
    media = await studio.put("loras/1/a.safetensors", "x" * 100_000, "application/x-safetensors")
    job_id = await studio.enqueue(generate_video(job_id=new_job_id(), adapters=(adapter_use(file=media),)))
    first = studio.workers[0]
    await eventually(lambda: "No space left on device" in first.log.read_text())
    await studio.worker("w2", CALLSHEET_MAX_ATTEMPTS="20")
    event = await studio.ending(job_id)
    assert isinstance(event, JobSucceeded)
    assert event.attempt > 1


async def _on_small_disk(studio: Studio, **env: Any) -> small_disk.SmallDisk:
    scratch = studio.folder / "scratch"
    worker: WorkerProcess = await studio.worker("w1", command=small_disk.worker_command(scratch), **env)
    await studio.announced("w1")
    return small_disk.SmallDisk(worker.process.pid, scratch)
