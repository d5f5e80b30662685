"""A worker process with a fake GPU child: what becomes of jobs, in every way they can end."""

from __future__ import annotations

import os
import signal
from typing import Any

from engine.contracts.events import CheckpointSaved, JobCancelled, JobFailed, JobStarted, JobSucceeded
from engine.contracts.failures import FailureCode
from engine.contracts.generation import Restyle
from engine.contracts.jobs import DatasetItem, TrainLora
from engine.contracts.results import ItemsCaptioned, LoraTrained, VideoRendered
from engine.contracts.status import Lane
from tests.support.contracts import adapter_use, caption_items, generate_video, train_lora
from tests.support.workers import KEYS, Studio, eventually, new_job_id


async def test_render_ends_with_a_stored_clip_made_of_its_inputs(studio: Studio) -> None:
    """The child sees local copies of what the job names, and the result names what the child made."""
    await studio.worker()
    lora = await studio.put("loras/lora1/x.safetensors", "weights", "application/x-safetensors")
    job = generate_video(job_id=new_job_id(), prompt="noise", adapters=(adapter_use(file=lora),))
    event = await studio.ending(await studio.enqueue(job))
    assert isinstance(event, JobSucceeded)
    assert isinstance(event.result, VideoRendered)
    assert await studio.store.get_bytes(event.result.file) == b"noise|weights"
    assert [e.seq for e in await studio.events(job.job_id)] == [1, 2]
    assert {e.attempt for e in await studio.events(job.job_id)} == {1}


async def test_items_are_captioned_by_their_content(studio: Studio) -> None:
    """The answer goes to the draft, by the hash of what was looked at."""
    await studio.worker()
    media = await studio.put("uploads/1/a.png", "picture")
    job = caption_items(job_id=new_job_id(), dataset_id="set1", items=(DatasetItem(media=media, filename="a.png"),))
    event = await studio.ending(await studio.enqueue(job))
    assert isinstance(event, JobSucceeded)
    assert event.result == ItemsCaptioned(dataset_id="set1", captions={media.sha256: "seen: a.png"})


async def test_training_reports_and_stores_its_lora_under_the_registry_key(studio: Studio) -> None:
    """Started, checkpoints and the end come in order on the stream; the file lies where the registry looks for it."""
    await studio.worker(CALLSHEET_CHECKPOINT_EVERY_STEPS="4")
    media = await studio.put("uploads/1/a.png", "picture")
    job = train_lora(job_id=new_job_id(), steps=10, items=(DatasetItem(media=media, filename="a.png"),))
    event = await studio.ending(await studio.enqueue(job))
    assert isinstance(event.result, LoraTrained)
    assert event.result.file.key == f"loras/lora1/{job.job_id}-1.safetensors"
    kinds = [type(e) for e in await studio.events(job.job_id)]
    assert kinds[0] is JobStarted
    assert kinds[-1] is JobSucceeded
    assert CheckpointSaved in kinds


async def test_checkpoints_are_deleted_when_the_training_has_ended(studio: Studio) -> None:
    """A finished job leaves its results and nothing else in the store."""
    await studio.worker(CALLSHEET_CHECKPOINT_EVERY_STEPS="2")
    job = train_lora(job_id=new_job_id(), steps=6, items=(DatasetItem(media=await studio.put("uploads/1/a.png", "x"), filename="a.png"),))
    await studio.ending(await studio.enqueue(job))

    async def gone() -> bool:
        return await studio.store.list("checkpoints") == []

    assert await eventually(gone)


async def test_render_runs_while_a_training_runs(studio: Studio) -> None:
    """Two lanes, one child: the clip is there long before the training ends."""
    await studio.worker()
    training = await studio.enqueue(await _training(studio, steps=5000))
    await studio.event(training, JobStarted)
    assert isinstance(await studio.ending(await studio.enqueue(generate_video(job_id=new_job_id()))), JobSucceeded)
    assert await studio.endings(training) == []


async def test_cancel_ends_a_running_training_between_two_steps(studio: Studio) -> None:
    """The ending says how many steps ran, so that they can be charged."""
    await studio.worker()
    job_id = await studio.enqueue(await _training(studio, steps=5000))

    async def under_way() -> bool:
        return await studio.progress_step(job_id) >= 3

    await eventually(under_way)
    await studio.cancel(job_id)
    event = await studio.ending(job_id)
    assert isinstance(event, JobCancelled)
    assert 3 <= event.steps_done < 5000


async def test_cancel_before_the_start_ends_the_job_without_the_child(studio: Studio) -> None:
    """A job cancelled while it waited in the queue is never begun."""
    job = generate_video(job_id=new_job_id())
    await studio.cancel(job.job_id)
    await studio.enqueue(job)
    await studio.worker()
    event = await studio.ending(job.job_id)
    assert isinstance(event, JobCancelled)
    assert event.steps_done == 0
    assert len(await studio.events(job.job_id)) == 1


async def test_cancel_is_obeyed_by_force_when_the_child_does_not_listen(studio: Studio) -> None:
    """A deaf child is killed after the grace time, and the job still ends as cancelled, not as failed."""
    worker = await studio.worker(CALLSHEET_CANCEL_GRACE_S="0.3")
    before = await worker.child_pid()
    job_id = await studio.enqueue(await _training(studio, steps=5000, preview_prompt="deaf"))
    await studio.event(job_id, JobStarted)
    await studio.cancel(job_id)
    assert isinstance(await studio.ending(job_id), JobCancelled)
    assert await worker.child_pid(other_than=before) != before


async def test_failure_that_no_retry_can_heal_ends_the_job_at_once(studio: Studio) -> None:
    """A wrong job is not tried again."""
    await studio.worker()
    job_id = await studio.enqueue(generate_video(job_id=new_job_id(), prompt="bad-config"))
    event = await studio.ending(job_id)
    assert isinstance(event, JobFailed)
    assert (event.code, event.attempt) == (FailureCode.INVALID_CONFIG, 1)


async def test_retryable_failure_is_tried_as_often_as_allowed(studio: Studio) -> None:
    """Out of memory gets every try there is, then the job fails with that code."""
    await studio.worker(CALLSHEET_MAX_ATTEMPTS="3")
    job_id = await studio.enqueue(generate_video(job_id=new_job_id(), prompt="oom"))
    event = await studio.ending(job_id)
    assert isinstance(event, JobFailed)
    assert (event.code, event.attempt) == (FailureCode.OUT_OF_MEMORY, 3)
    assert [e.attempt for e in await studio.events(job_id) if isinstance(e, JobStarted)] == [1, 2, 3]


async def test_missing_input_fails_the_job_and_says_so(studio: Studio) -> None:
    """An upload that is gone from the store can't be retried into existence."""
    await studio.worker()
    event = await studio.ending(await studio.enqueue(train_lora(job_id=new_job_id())))
    assert isinstance(event, JobFailed)
    assert event.code is FailureCode.OBJECT_CORRUPT


async def test_payload_that_is_no_job_ends_as_failed_and_leaves_the_queue(studio: Studio) -> None:
    """Nothing unreadable stays in a queue to be picked up for ever."""
    await studio.worker()
    job_id, junk_id = new_job_id(), "not-a-job-id"
    queue = KEYS.queue("tiny", Lane.RENDER)
    for entry in (job_id, junk_id):
        await studio.redis.enqueue_job("no_such_function", {"kind": "?"}, _job_id=entry, _queue_name=queue)
    event = await studio.ending(job_id)
    assert isinstance(event, JobFailed)
    assert event.code is FailureCode.INTERNAL

    async def empty() -> bool:
        return await studio.redis.zcard(queue) == 0

    assert await eventually(empty)


async def test_worker_leaves_no_lease_behind_when_jobs_end(studio: Studio) -> None:
    """After the end no key of the job is left but the result and the record of tries, both with an expiry."""
    await studio.worker()
    job_id = await studio.enqueue(generate_video(job_id=new_job_id()))
    await studio.ending(job_id)
    keys = {key.decode() for key in await studio.redis.keys(f"*{job_id}*")}
    assert keys == {f"arq:result:{job_id}", KEYS.tries(job_id), KEYS.progress(job_id)}
    for key in keys:
        assert await studio.redis.ttl(key) > 0


async def _training(studio: Studio, **changes: Any) -> TrainLora:
    media = await studio.put("uploads/1/a.png", "picture")
    return train_lora(**{"job_id": new_job_id(), "items": (DatasetItem(media=media, filename="a.png"),), **changes})


async def test_downloads_are_dropped_when_somebody_is_forgotten(studio: Studio) -> None:
    """The bot says so through Redis, and names nobody."""
    await studio.worker()
    lora = await studio.put("loras/1/a.safetensors", "weights", "application/x-safetensors")
    await studio.ending(await studio.enqueue(generate_video(job_id=new_job_id(), adapters=(adapter_use(file=lora),))))
    cache = studio.folder / "scratch" / "w1" / "cache"
    assert any(cache.iterdir())
    await studio.redis.set(KEYS.forgotten, b"now")
    assert await eventually(lambda: not any(cache.iterdir()))


async def test_lora_deleted_while_the_job_waited_fails_it_by_that_name(studio: Studio) -> None:
    """Another sentence than a damaged upload gets, since another thing is to be done; it is not tried again."""
    await studio.worker()
    lora = await studio.put("loras/lora1/x.safetensors", "weights", "application/x-safetensors")
    await studio.store.delete(lora.key)
    event = await studio.ending(await studio.enqueue(generate_video(job_id=new_job_id(), adapters=(adapter_use(file=lora),))))
    assert isinstance(event, JobFailed)
    assert event.code is FailureCode.ADAPTER_MISSING
    assert event.attempt == 1


async def test_render_hands_every_given_file_to_the_child_by_its_role(studio: Studio) -> None:
    """Guide and source clip are local files like the picture is."""
    await studio.worker()
    clip = await studio.put("uploads/1/a.mp4", "clip", "video/mp4")
    job = generate_video(job_id=new_job_id(), prompt="say inputs", restyle=Restyle(video=clip))
    event = await studio.ending(await studio.enqueue(job))
    assert isinstance(event, JobSucceeded)
    assert isinstance(event.result, VideoRendered)
    assert await studio.store.get_bytes(event.result.file) == b"say inputs|clip=clip"
    assert event.result.num_frames == job.geometry.num_frames


async def test_next_clip_is_denoised_while_the_files_of_the_last_are_written(studio: Studio) -> None:
    """The lane claims another job when the device is free, and no third one before it is free again."""
    await studio.worker(FAKE_STEP_S="0.2")
    first = await studio.enqueue(generate_video(job_id=new_job_id(), prompt="slow-files"))
    second = await studio.enqueue(generate_video(job_id=new_job_id(), prompt="slow-files too"))
    third = await studio.enqueue(generate_video(job_id=new_job_id(), prompt="last"))
    await studio.event(second, JobStarted)
    assert await studio.endings(first) == []
    assert await studio.events(third) == []
    (studio.folder / "written").touch()
    for job_id in (first, second, third):
        assert isinstance(await studio.ending(job_id), JobSucceeded)
        assert len(await studio.endings(job_id)) == 1


async def test_crash_while_files_are_written_is_not_blamed_on_the_clip_denoised_meanwhile(studio: Studio) -> None:
    """Else a clip that no encoder survives would use up the tries of everybody who comes after it."""
    worker = await studio.worker(FAKE_STEP_S="0.5", CALLSHEET_MAX_ATTEMPTS="1")
    writing = await studio.enqueue(generate_video(job_id=new_job_id(), prompt="slow-files"))
    denoised = await studio.enqueue(generate_video(job_id=new_job_id(), prompt="calm"))
    await studio.event(denoised, JobStarted)
    os.kill(await worker.child_pid(), signal.SIGKILL)
    ending = await studio.ending(writing)
    assert isinstance(ending, JobFailed)
    assert isinstance(await studio.ending(denoised), JobSucceeded)


async def test_files_of_the_next_clip_are_fetched_while_the_current_one_is_denoised(studio: Studio) -> None:
    """Its LoRAs and its picture lie in the cache before it is begun; nothing is claimed for that, and a missing file harms nobody."""
    await studio.worker(FAKE_STEP_S="1.0")
    lora = await studio.put("loras/lora1/x.safetensors", "weights", "application/x-safetensors")
    picture = await studio.put("uploads/1/a.png", "picture")
    first = await studio.enqueue(generate_video(job_id=new_job_id()))
    await studio.event(first, JobStarted)
    second = await studio.enqueue(generate_video(job_id=new_job_id(), adapters=(adapter_use(file=lora),), image=picture))
    cache = studio.folder / "scratch" / "w1" / "cache"
    await eventually(lambda: (cache / f"{lora.sha256}.safetensors").exists() and (cache / f"{picture.sha256}.png").exists())
    assert await studio.events(second) == []
    assert isinstance(await studio.ending(first), JobSucceeded)
    assert isinstance(await studio.ending(second), JobSucceeded)
