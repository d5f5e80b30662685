"""Workers and GPU children that are killed, frozen or asked to leave: jobs go on, end exactly once, and keep their tries."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

from engine.contracts.events import CheckpointSaved, JobFailed, JobStarted, JobSucceeded
from engine.contracts.failures import FailureCode
from engine.contracts.jobs import DatasetItem, TrainLora
from engine.contracts.status import WorkerState, WorkerStatus
from tests.support.contracts import generate_video, train_lora
from tests.support.workers import KEYS, Studio, eventually, new_job_id

RECOVERY_S = 20.0  # a lease of 3 s and what a busy machine adds; stock arq would take the job's time limit, a day


async def test_training_goes_on_from_its_checkpoint_on_another_worker_when_its_worker_is_killed(studio: Studio) -> None:
    """SIGKILL of the whole worker costs the time of a lease and the steps since the last checkpoint, nothing else."""
    first = await studio.worker("w1", CALLSHEET_CHECKPOINT_EVERY_STEPS="10", FAKE_STEP_S="0.05")
    job_id = await studio.enqueue(await _training(studio, steps=200))
    await studio.event(job_id, JobStarted)
    await studio.worker("w2", CALLSHEET_CHECKPOINT_EVERY_STEPS="10", FAKE_STEP_S="0.001")
    saved = await studio.event(job_id, CheckpointSaved)
    first.kill()
    event = await studio.ending(job_id)
    assert isinstance(event, JobSucceeded)
    assert event.attempt == 2
    begun_at = int((await studio.store.get_bytes(event.result.file)).decode().removeprefix("from "))
    assert begun_at >= saved.step
    assert len(await studio.endings(job_id)) == 1


async def test_job_of_a_killed_worker_starts_elsewhere_within_its_lease(studio: Studio) -> None:
    """Recovery takes a lease and no more, however long the job may run (here: a day)."""
    first = await studio.worker("w1")
    job_id = await studio.enqueue(await _training(studio, steps=500))
    await studio.event(job_id, JobStarted)
    await studio.worker("w2")
    await studio.announced("w2")
    first.kill()
    killed_at = time.time()
    again = await studio.event(job_id, JobStarted, attempt=2)
    assert again.worker_id == "w2"
    assert again.at - killed_at < RECOVERY_S


async def test_restarted_worker_frees_its_own_jobs_at_once(studio: Studio) -> None:
    """The same worker id and scratch folder prove that the former process is dead, so nobody waits for its long lease."""
    first = await studio.worker("w1", CALLSHEET_LEASE_S="600")
    job_id = await studio.enqueue(await _training(studio, steps=30))
    await studio.event(job_id, JobStarted)
    first.kill()
    await first.exited()
    await studio.worker("w1", CALLSHEET_LEASE_S="600")
    event = await studio.ending(job_id)
    assert isinstance(event, JobSucceeded)
    assert event.attempt == 2


async def test_child_dies_with_its_parent_when_the_worker_is_killed(studio: Studio) -> None:
    """No orphan keeps the GPU."""
    worker = await studio.worker()
    job_id = await studio.enqueue(await _training(studio, steps=5000))
    await studio.event(job_id, JobStarted)
    child = await worker.child_pid()
    worker.kill()
    await eventually(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2], within_s=30)


async def test_job_is_tried_again_in_a_new_child_when_its_child_dies(studio: Studio) -> None:
    """One crash of the child costs one try."""
    await studio.worker()
    job_id = await studio.enqueue(generate_video(job_id=new_job_id(), prompt="die-once"))
    event = await studio.ending(job_id)
    assert isinstance(event, JobSucceeded)
    assert event.attempt == 2


async def test_job_fails_when_it_kills_every_child_it_gets(studio: Studio) -> None:
    """A poison job ends as failed after its tries, with the child's fate in the detail."""
    await studio.worker(CALLSHEET_MAX_ATTEMPTS="3")
    job_id = await studio.enqueue(generate_video(job_id=new_job_id(), prompt="die"))
    event = await studio.ending(job_id)
    assert isinstance(event, JobFailed)
    assert (event.code, event.attempt) == (FailureCode.CHILD_DIED, 3)
    assert "SIGKILL" in event.detail


async def test_poison_render_uses_up_no_try_of_the_training_beside_it(studio: Studio) -> None:
    """A training that only shared the child with a killer goes on and ends well."""
    await studio.worker(CALLSHEET_MAX_ATTEMPTS="2", CALLSHEET_CHECKPOINT_EVERY_STEPS="5")
    training = await studio.enqueue(await _training(studio, steps=120))
    await studio.event(training, JobStarted)
    render = await studio.enqueue(generate_video(job_id=new_job_id(), prompt="die"))
    assert isinstance(await studio.ending(render), JobFailed)
    assert isinstance(await studio.ending(training), JobSucceeded)


async def test_job_that_loses_every_worker_fails_without_being_run_again(studio: Studio) -> None:
    """Kills of whole workers count too, and the last word comes from a worker that did not even try."""
    job_id = await studio.enqueue(await _training(studio, steps=5000))
    for attempt in (1, 2):
        worker = await studio.worker("w1", CALLSHEET_MAX_ATTEMPTS="2")
        await studio.event(job_id, JobStarted, attempt=attempt)
        worker.kill()
        await worker.exited()
    await studio.worker("w1", CALLSHEET_MAX_ATTEMPTS="2")
    event = await studio.ending(job_id)
    assert isinstance(event, JobFailed)
    assert event.code is FailureCode.WORKER_LOST


async def test_worker_told_to_stop_checkpoints_its_training_and_hands_it_over(studio: Studio) -> None:
    """SIGTERM: exit 0, and the next worker goes on at once from the very step, with no lease to wait for."""
    first = await studio.worker("w1", CALLSHEET_LEASE_S="600")
    job_id = await studio.enqueue(await _training(studio, steps=60))
    await eventually(lambda: _step_reached(studio, job_id, 5))
    assert await first.stop() == 0
    saved = [e for e in await studio.events(job_id) if isinstance(e, CheckpointSaved)]
    await studio.worker("w2", CALLSHEET_LEASE_S="600")
    event = await studio.ending(job_id)
    assert isinstance(event, JobSucceeded)
    assert (await studio.store.get_bytes(event.result.file)).decode() == f"from {saved[-1].step}"


async def test_worker_told_to_stop_finishes_its_clip_first(studio: Studio) -> None:
    """A render is short: it ends within the grace time instead of starting again elsewhere."""
    worker = await studio.worker(FAKE_STEP_S="0.2")
    job_id = await studio.enqueue(generate_video(job_id=new_job_id()))
    await studio.event(job_id, JobStarted)
    assert await worker.stop() == 0
    assert [type(e) for e in await studio.endings(job_id)] == [JobSucceeded]


async def test_deploys_use_up_no_tries(studio: Studio) -> None:
    """A job that was handed over more often than it may crash still ends well."""
    job_id = await studio.enqueue(await _training(studio, steps=1000))
    for attempt in (1, 2, 3):
        worker = await studio.worker("w1", CALLSHEET_MAX_ATTEMPTS="1")
        await studio.event(job_id, JobStarted, attempt=attempt)
        assert await worker.stop() == 0
    await studio.worker("w1", CALLSHEET_MAX_ATTEMPTS="1", FAKE_STEP_S="0.001")
    event = await studio.ending(job_id)
    assert isinstance(event, JobSucceeded)
    assert event.attempt == 4


async def test_worker_whose_job_does_not_stop_in_time_leaves_anyway(studio: Studio) -> None:
    """The grace time is a bound: the child is killed, the job is handed back uncounted, the exit code is 0."""
    worker = await studio.worker(CALLSHEET_DRAIN_GRACE_S="0.3", CALLSHEET_LEASE_S="600", FAKE_STEP_S="30")
    job_id = await studio.enqueue(await _training(studio, steps=3))
    await studio.event(job_id, JobStarted)
    assert await worker.stop(within_s=30) == 0
    assert await studio.redis.exists(f"arq:in-progress:{job_id}") == 0
    assert await studio.redis.hget(KEYS.tries(job_id), "crashed") == b"0"


async def test_frozen_worker_that_wakes_up_commits_nothing(studio: Studio) -> None:
    """The job ends once, by the worker that took over; the sleeper's result and events are dropped."""
    first = await studio.worker("w1", CALLSHEET_LEASE_S="2")
    job_id = await studio.enqueue(await _training(studio, steps=40, preview_prompt="x"))
    await studio.event(job_id, JobStarted)
    first.signal(signal.SIGSTOP)
    second = await studio.worker("w2", CALLSHEET_LEASE_S="2")
    await studio.event(job_id, JobStarted, attempt=2)
    first.signal(signal.SIGCONT)
    event = await studio.ending(job_id)
    assert event.attempt == 2
    assert await first.stop() == 0
    assert await second.stop() == 0
    assert len(await studio.endings(job_id)) == 1


async def test_second_worker_with_the_same_id_on_a_host_is_refused(studio: Studio) -> None:
    """Two processes under one name would take each other's leases."""
    first = await studio.worker("w1")
    await first.child_pid()
    second = await studio.worker("w1")
    assert await second.exited() == 2
    assert "CALLSHEET_WORKER_ID" in second.log.read_text()


async def test_worker_announces_itself_and_takes_the_announcement_back(studio: Studio) -> None:
    """The registry shows what the worker is and does; a clean exit leaves no ghost in it."""
    worker = await studio.worker()
    job_id = await studio.enqueue(await _training(studio, steps=5000))
    await studio.event(job_id, JobStarted)

    async def busy() -> bool:
        value = await studio.redis.hget(KEYS.workers, "w1")
        return value is not None and job_id in WorkerStatus.model_validate_json(value).busy.values()

    assert await eventually(busy)
    status = WorkerStatus.model_validate_json(await studio.redis.hget(KEYS.workers, "w1"))
    assert (status.state, status.base, status.device) == (WorkerState.READY, "tiny", "fake")
    assert 0 < await studio.redis.ttl(KEYS.worker_alive("w1")) <= 10
    await worker.stop()
    assert await studio.redis.exists(KEYS.worker_alive("w1")) == 0
    assert await studio.redis.hget(KEYS.workers, "w1") is None


async def test_worker_whose_base_is_missing_says_broken_and_takes_no_job(studio: Studio) -> None:
    """A job is left to workers that can run it."""
    await studio.worker(CALLSHEET_BASE="missing")

    async def broken() -> bool:
        value = await studio.redis.hget(KEYS.workers, "w1")
        return value is not None and WorkerStatus.model_validate_json(value).state is WorkerState.BROKEN

    assert await eventually(broken)
    job_id = await studio.enqueue(generate_video(job_id=new_job_id(), base="missing"))
    assert await studio.redis.exists(f"arq:in-progress:{job_id}") == 0


async def _training(studio: Studio, **changes: Any) -> TrainLora:
    media = await studio.put("uploads/1/a.png", "picture")
    return train_lora(**{"job_id": new_job_id(), "items": (DatasetItem(media=media, filename="a.png"),), **changes})


async def _step_reached(studio: Studio, job_id: str, step: int) -> bool:
    return await studio.progress_step(job_id) >= step
