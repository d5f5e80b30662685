"""Real workers with the real GPU child on the tiny base: what is killed goes on from its checkpoint, what was trained can be used."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from engine.contracts.events import CheckpointSaved, JobStarted, JobSucceeded
from engine.contracts.jobs import DatasetItem
from engine.contracts.model import StoredObject
from tests.support.contracts import adapter_use, generate_video, train_lora
from tests.support.workers import Studio, new_job_id

STEPS = 20
PATIENT_S = 240.0  # a base is loaded three times in here, on cores that others use too


async def test_training_resumes_bit_for_bit_when_its_child_is_killed(studio: Studio, pictures: tuple[Path, ...]) -> None:
    """The second try starts at a stored checkpoint and makes the file that one undisturbed try makes."""
    worker = await studio.worker(child=None, CALLSHEET_CHECKPOINT_EVERY_STEPS="4", CALLSHEET_MAX_ATTEMPTS="3")
    calm_id, killed_id = new_job_id(), new_job_id()
    items = await _stored_items(studio, pictures)
    await studio.enqueue(train_lora(job_id=killed_id, items=items, steps=STEPS, lora_id="killed"))
    await studio.event(killed_id, CheckpointSaved, within_s=PATIENT_S)
    os.kill(await worker.child_pid(), signal.SIGKILL)
    killed = await studio.ending(killed_id, within_s=PATIENT_S)
    await studio.enqueue(train_lora(job_id=calm_id, items=items, steps=STEPS, lora_id="calm"))
    calm = await studio.ending(calm_id, within_s=PATIENT_S)
    assert isinstance(killed, JobSucceeded)
    assert (killed.attempt, calm.attempt) == (2, 1)
    one, other = await _tensors(studio, killed.result.file), await _tensors(studio, calm.result.file)
    for name in other:
        np.testing.assert_array_equal(one[name], other[name])
    assert killed.result.preview is not None
    assert killed.result.poster is not None
    assert killed.result.loss_curve is not None


async def test_second_worker_goes_on_with_the_training_of_a_killed_one(studio: Studio, pictures: tuple[Path, ...]) -> None:
    """SIGKILL of a whole worker, its GPU child included: another machine goes on from the stored checkpoint."""
    first = await studio.worker("w1", child=None, CALLSHEET_CHECKPOINT_EVERY_STEPS="4")
    job_id = await studio.enqueue(train_lora(job_id=new_job_id(), items=await _stored_items(studio, pictures), steps=STEPS))
    await studio.event(job_id, CheckpointSaved, within_s=PATIENT_S)
    first.kill()
    await studio.worker("w2", child=None)
    started = await studio.event(job_id, JobStarted, within_s=PATIENT_S, attempt=2)
    assert started.worker_id == "w2"
    event = await studio.ending(job_id, within_s=PATIENT_S)
    assert isinstance(event, JobSucceeded)
    assert event.result.steps == STEPS
    assert event.result.manifest.items == 4


async def test_trained_lora_changes_the_clip_it_is_used_in(studio: Studio, pictures: tuple[Path, ...]) -> None:
    """What one job stored, another one uses: the way of every user."""
    await studio.worker(child=None)
    trained = await studio.ending(
        await studio.enqueue(train_lora(job_id=new_job_id(), items=await _stored_items(studio, pictures), steps=STEPS)), within_s=PATIENT_S
    )
    plain, stacked = (
        generate_video(job_id=new_job_id(), prompt="a beach"),
        generate_video(job_id=new_job_id(), prompt="a beach", adapters=(adapter_use(file=trained.result.file),)),
    )
    await studio.enqueue(plain)
    await studio.enqueue(stacked)
    events = [await studio.ending(job.job_id, within_s=PATIENT_S) for job in (plain, stacked)]
    clips = [await studio.store.get_bytes(event.result.file) for event in events]
    assert clips[0] != clips[1]
    assert events[1].result.posted_width == 256
    assert events[1].result.poster.media_type == "image/png"


async def _stored_items(studio: Studio, pictures: Sequence[Path]) -> tuple[DatasetItem, ...]:
    items = []
    for path in pictures:
        media = await studio.store.put_file(f"uploads/1/{path.name}", path, "image/png")
        items.append(DatasetItem(media=media, filename=path.name))
    return tuple(items)


async def _tensors(studio: Studio, file: StoredObject) -> dict[str, NDArray[Any]]:
    return load_file(await studio.store.get_file(file, studio.folder / file.sha256))
