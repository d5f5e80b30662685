"""Redis away, hung, emptied or forbidding: workers wait and go on, running jobs keep their owners and end exactly once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.contracts.events import JobCancelled, JobStarted, JobSucceeded
from engine.contracts.jobs import DatasetItem, TrainLora
from tests.support.contracts import generate_video, train_lora
from tests.support.valkey import Valkey
from tests.support.workers import KEYS, Studio, eventually, new_job_id


@pytest.fixture
async def durable_studio(tmp_path: Path, durable_valkey: Valkey) -> AsyncIterator[Studio]:
    """A studio whose Redis keeps its data over a crash."""
    studio = Studio(tmp_path / "studio", durable_valkey)
    yield studio
    await studio.close()


async def test_idle_worker_lets_the_owner_speak_first_after_an_outage(durable_studio: Studio) -> None:
    """Leases expire while Redis is away; whoever is back first must not take a job whose owner is only a moment slower."""
    studio = durable_studio
    owner = await studio.worker("w1", CALLSHEET_LEASE_S="9", FAKE_STEP_S="0.1")
    job_id = await studio.enqueue(await _training(studio, steps=120))
    await studio.event(job_id, JobStarted)
    await studio.worker("w2", CALLSHEET_LEASE_S="9")
    await eventually(lambda: studio.redis.exists(KEYS.worker_alive("w2")), within_s=60)
    owner.signal(signal.SIGSTOP)
    await _away(studio.valkey, 4.0)
    await studio.redis.delete(f"arq:in-progress:{job_id}", KEYS.worker_alive("w2"))  # as if the lease had expired meanwhile
    await eventually(lambda: studio.redis.exists(KEYS.worker_alive("w2")))  # back, and free to claim
    owner.signal(signal.SIGCONT)
    event = await studio.ending(job_id, within_s=60)
    assert isinstance(event, JobSucceeded)
    assert event.attempt == 1


async def test_job_that_ends_during_an_outage_is_committed_after_it(durable_studio: Studio) -> None:
    """The result waits in the worker; neither it nor the events before it are lost or reordered."""
    studio = durable_studio
    await studio.worker(FAKE_STEP_S="0.25")
    job_id = await studio.enqueue(generate_video(job_id=new_job_id()))
    await studio.event(job_id, JobStarted)
    await _away(studio.valkey, 3.0)
    assert isinstance(await studio.ending(job_id), JobSucceeded)
    assert [e.seq for e in await studio.events(job_id)] == [1, 2]


async def test_job_ends_once_when_redis_hangs_for_a_while(studio: Studio) -> None:
    """Answers that never come are bounded by a socket timeout, and a claim that was given up does no harm when it still runs."""
    await studio.worker("w1", FAKE_STEP_S="0.1")
    await studio.worker("w2", FAKE_STEP_S="0.1")
    job_id = await studio.enqueue(await _training(studio, steps=60))
    await studio.event(job_id, JobStarted)
    studio.valkey.freeze()
    await asyncio.sleep(6.0)
    studio.valkey.thaw()
    assert isinstance(await studio.ending(job_id), JobSucceeded)
    assert len(await studio.endings(job_id)) == 1


async def test_running_job_ends_well_when_redis_loses_everything(studio: Studio) -> None:
    """After FLUSHALL the owner asserts its lease again, so a re-enqueued copy of the job is not run beside it."""
    await studio.worker("w1", FAKE_STEP_S="0.05")
    job = await _training(studio, steps=80)
    await studio.enqueue(job)
    await studio.event(job.job_id, JobStarted)
    await studio.redis.flushall()
    await eventually(lambda: studio.redis.exists(f"arq:in-progress:{job.job_id}"))
    await studio.enqueue(job)
    await studio.worker("w2")
    event = await studio.ending(job.job_id)
    assert isinstance(event, JobSucceeded)
    assert event.attempt == 1

    async def left_the_queue() -> bool:
        return await studio.redis.zcard(KEYS.queue("tiny", "train")) == 0

    assert await eventually(left_the_queue)
    assert len(await studio.endings(job.job_id)) == 1


async def test_cancel_asked_for_before_an_outage_is_obeyed_after_it(durable_studio: Studio) -> None:
    """The request is a key of its own and survives with the data."""
    studio = durable_studio
    await studio.worker(CALLSHEET_CANCEL_POLL_S="1.4")
    job_id = await studio.enqueue(await _training(studio, steps=5000))
    await studio.event(job_id, JobStarted)
    await studio.cancel(job_id)
    await _away(studio.valkey, 1.5)
    assert isinstance(await studio.ending(job_id), JobCancelled)


async def test_worker_started_before_redis_waits_for_it(durable_studio: Studio) -> None:
    """The order in which services come up does not matter."""
    studio = durable_studio
    studio.valkey.kill()
    worker = await studio.worker()
    await worker.child_pid()
    await asyncio.to_thread(studio.valkey.start)
    job_id = await studio.enqueue(generate_video(job_id=new_job_id()))
    assert isinstance(await studio.ending(job_id), JobSucceeded)


async def test_worker_told_to_stop_leaves_while_redis_is_away(durable_studio: Studio) -> None:
    """A deploy in the middle of an outage is not held up by it."""
    studio = durable_studio
    worker = await studio.worker()
    job_id = await studio.enqueue(await _training(studio, steps=5000))
    await studio.event(job_id, JobStarted)
    studio.valkey.kill()
    assert await worker.stop() == 0


async def test_worker_with_a_wrong_password_stops_and_says_so(studio: Studio) -> None:
    """A refusal is no outage: retrying would hide it for ever."""
    await studio.redis.config_set("requirepass", "right")
    worker = await studio.worker()
    assert await worker.exited() == 1
    assert "refuses" in worker.log.read_text()


async def _away(valkey: Valkey, seconds: float) -> None:
    """Redis is killed, and comes back after `seconds`: the length of the outage is what is tested."""
    valkey.kill()
    await asyncio.sleep(seconds)
    await asyncio.to_thread(valkey.start)


async def _training(studio: Studio, **changes: Any) -> TrainLora:
    media = await studio.put("uploads/1/a.png", "picture")
    return train_lora(**{"job_id": new_job_id(), "items": (DatasetItem(media=media, filename="a.png"),), **changes})
