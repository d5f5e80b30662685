"""Jobs from submit to end: bot core, real SQLite, real Valkey, a worker played by the test."""

from __future__ import annotations

import asyncio

import pytest

from bot.errors import Refusal, RefusalCode
from bot.services.library import Filters
from bot.services.posts import PostKind
from bot.storage.loras import LoraState
from engine.contracts.events import CheckpointSaved, JobStarted
from engine.contracts.failures import FailureCode
from engine.contracts.lora import LoraKind
from engine.contracts.status import JobStatus, Lane
from tests.support.bot_core import Core, PlayedWorker, actor, place


async def test_generation_goes_from_submit_to_post_when_a_worker_renders_it(core: Core, played_worker: PlayedWorker) -> None:
    """A submitted clip is queued, dispatched, running, succeeded; its units are spent and one post waits for Discord."""
    submitted = await core.generate()
    assert submitted.view.record.status is JobStatus.QUEUED
    assert await core.dispatcher.dispatch() == 1
    job = await played_worker.claim(Lane.RENDER)
    await core.consume()
    assert (await core.record(job.job_id)).status is JobStatus.RUNNING
    await played_worker.succeed(job)
    await core.consume()
    record = await core.record(job.job_id)
    assert record.status is JobStatus.SUCCEEDED
    assert record.units_charged == record.units
    status = await core.services.quotas.status(actor())
    assert (status.used, status.reserved) == (record.units, 0)
    posts = await core.services.posts.due()
    assert [(post.kind, post.view.record.job_id) for post in posts] == [(PostKind.RESULT, job.job_id)]


async def test_training_registers_its_lora_when_it_succeeds(core: Core, played_worker: PlayedWorker) -> None:
    """A trained LoRA is ready under its name, and a clip can use it at once."""
    submitted = await core.train()
    await core.dispatcher.dispatch()
    job = await played_worker.claim(Lane.TRAIN)
    await played_worker.succeed(job)
    await core.consume()
    lora = (await core.services.library.page(actor(), Filters(), 1)).loras[0]
    assert (lora.name, lora.state, lora.job_id) == ("zoko", LoraState.READY, submitted.view.record.job_id)
    clip = await core.generate(loras="zoko:0.9")
    assert [(use.lora_id, use.weight) for use in clip.view.record.job.adapters] == [(lora.lora_id, 0.9)]  # type: ignore[union-attr]


async def test_failed_training_gives_everything_back_when_it_ends(core: Core, played_worker: PlayedWorker) -> None:
    """A failure refunds all units, frees the name, and tells the owner."""
    await core.train()
    await core.dispatcher.dispatch()
    await played_worker.fail(await played_worker.claim(Lane.TRAIN), FailureCode.LOSS_NOT_FINITE)
    await core.consume()
    status = await core.services.quotas.status(actor())
    assert (status.used, status.reserved) == (0, 0)
    assert [post.kind for post in await core.services.posts.due()] == [PostKind.FAILED]
    again = await core.train()
    assert again.view.record.status is JobStatus.QUEUED


async def test_second_press_returns_the_first_job_when_both_carry_one_interaction(core: Core) -> None:
    """Two presses at once make one job and one reservation."""
    first, second = await asyncio.gather(core.generate(interaction_id=5), core.generate(interaction_id=5))
    assert {first.duplicate, second.duplicate} == {False, True}
    assert first.view.record.job_id == second.view.record.job_id
    assert (await core.services.quotas.status(actor())).reserved == first.view.record.units


async def test_two_starts_of_one_data_set_make_one_training_when_pressed_at_once(core: Core) -> None:
    """A draft is started once, whoever presses how often."""
    kind = (await core.train(name="other")).view.record.job.lora_kind  # type: ignore[union-attr]
    report = await core.services.datasets.open(actor(), name="twice", kind=kind, trigger=None, files=core.pictures(4))
    start = core.services.jobs.submit_training
    results = await asyncio.gather(
        *(start(report.dataset.dataset_id, actor(), place(), number) for number in (1, 2)), return_exceptions=True
    )
    refusals = [result for result in results if isinstance(result, Refusal)]
    assert len(refusals) == 1
    assert refusals[0].code is RefusalCode.DATASET_CLOSED


async def test_queued_job_is_cancelled_at_once_when_its_owner_asks(core: Core) -> None:
    """A job that nobody runs costs nothing."""
    job_id = (await core.generate()).view.record.job_id
    view = await core.services.jobs.cancel(job_id, actor())
    assert view.record.status is JobStatus.CANCELLED
    assert (await core.services.quotas.status(actor())).left == core.settings.daily_units
    with pytest.raises(Refusal) as refused:
        await core.services.jobs.cancel(job_id, actor())
    assert refused.value.code is RefusalCode.JOB_OVER


async def test_dispatched_job_is_withdrawn_when_cancelled_before_a_worker_takes_it(core: Core, played_worker: PlayedWorker) -> None:
    """Nobody waits for a busy worker to acknowledge a cancel."""
    job_id = (await core.generate()).view.record.job_id
    await core.dispatcher.dispatch()
    assert await played_worker.waiting(Lane.RENDER) == [job_id]
    view = await core.services.jobs.cancel(job_id, actor())
    assert view.record.status is JobStatus.CANCELLED
    assert await played_worker.waiting(Lane.RENDER) == []


async def test_cancelled_training_pays_for_the_steps_that_ran_when_it_stops(core: Core, played_worker: PlayedWorker) -> None:
    """A quarter of the steps costs a quarter; the name is free again."""
    units = (await core.train()).view.record.units
    await core.dispatcher.dispatch()
    job = await played_worker.claim(Lane.TRAIN)
    await core.consume()
    view = await core.services.jobs.cancel(job.job_id, actor())
    assert view.record.cancel_requested
    assert view.record.status is JobStatus.RUNNING
    assert await played_worker.redis.exists(played_worker.keys.cancel(job.job_id))
    await played_worker.cancelled(job, steps_done=core.settings.profile.training[LoraKind.CHARACTER].steps // 4)
    await core.consume()
    record = await core.record(job.job_id)
    assert (record.status, record.units_charged) == (JobStatus.CANCELLED, units // 4)
    status = await core.services.quotas.status(actor())
    assert (status.used, status.reserved) == (units // 4, 0)
    assert await core.services.posts.due() == []
    assert (await core.train()).view.record.status is JobStatus.QUEUED


async def test_cancel_is_refused_when_a_stranger_asks_and_granted_to_an_admin(core: Core) -> None:
    """Only the owner and the server's admins stop a job."""
    job_id = (await core.generate()).view.record.job_id
    for stranger in (actor(2), actor(2, guild_id=99, is_admin=True)):
        with pytest.raises(Refusal) as refused:
            await core.services.jobs.cancel(job_id, stranger)
        assert refused.value.code is RefusalCode.NOT_OWNER
    assert (await core.services.jobs.cancel(job_id, actor(2, is_admin=True))).record.status is JobStatus.CANCELLED


async def test_event_changes_nothing_when_it_comes_twice_or_late(core: Core, played_worker: PlayedWorker) -> None:
    """Repeats, late starts and events of earlier attempts leave rows, ledger and outbox as they are."""
    await core.generate()
    await core.dispatcher.dispatch()
    job = await played_worker.claim(Lane.RENDER)
    await played_worker.emit(JobStarted, job.job_id, attempt=2, seq=0, worker_id="w2", total_steps=16)
    await played_worker.emit(JobStarted, job.job_id, attempt=1, seq=0, worker_id="w1", total_steps=16)
    await core.consume()
    assert (await core.record(job.job_id)).worker_id == "w2"
    await played_worker.succeed(job)
    await played_worker.succeed(job)
    await played_worker.emit(CheckpointSaved, job.job_id, attempt=2, seq=9, step=3)
    await core.consume()
    assert (await core.record(job.job_id)).status is JobStatus.SUCCEEDED
    assert len(await core.rows("outbox")) == 1
    assert sorted(row["kind"] for row in await core.rows("ledger")) == ["reserve", "settle"]


async def test_worker_is_told_to_stop_when_it_starts_a_job_that_is_over(core: Core, played_worker: PlayedWorker) -> None:
    """A cancel that Redis did not hear in time reaches the worker with its first event."""
    await core.generate()
    await core.dispatcher.dispatch()
    job = await played_worker.claim(Lane.RENDER)
    async with core.database.transaction() as tx:
        await core.services.jobs.outcomes.cancel(tx, await core.record(job.job_id), 0)
    await core.consume()
    assert await played_worker.redis.exists(played_worker.keys.cancel(job.job_id))


async def test_unreadable_event_is_skipped_when_others_follow(core: Core, played_worker: PlayedWorker) -> None:
    """One bad entry does not stop the stream."""
    await played_worker.redis.xadd(played_worker.keys.events, {"event": b"{nonsense"})
    await played_worker.redis.xadd(played_worker.keys.events, {"other": b"x"})
    await core.generate()
    await core.dispatcher.dispatch()
    job = await played_worker.claim(Lane.RENDER)
    await core.consume()
    assert (await core.record(job.job_id)).status is JobStatus.RUNNING


async def test_clip_is_made_again_with_another_seed_when_its_owner_presses_again(core: Core) -> None:
    """The copy keeps everything but id and seed; a stranger is refused."""
    first = (await core.generate(prompt="zoko swims", seed=7)).view.record
    again = (await core.services.clips.again(first.job_id, actor(), place(), 77)).view.record
    assert again.job.prompt == "zoko swims"  # type: ignore[union-attr]
    assert again.job.seed != 7
    assert again.job_id != first.job_id
    with pytest.raises(Refusal) as refused:
        await core.services.clips.again(first.job_id, actor(2), place(), 78)
    assert refused.value.code is RefusalCode.NOT_OWNER


async def test_result_is_deleted_from_the_store_when_its_owner_asks(core: Core, played_worker: PlayedWorker) -> None:
    """The file is gone, and deleting twice is deleting once."""
    await core.generate()
    await core.dispatcher.dispatch()
    job = await played_worker.claim(Lane.RENDER)
    await core.store.put_bytes(f"jobs/{job.job_id}/1/clip.mp4", b"mp4", "video/mp4")
    await played_worker.succeed(job)
    await core.consume()
    for _ in range(2):
        await core.services.jobs.delete_result(job.job_id, actor())
    assert not await core.store.exists(f"jobs/{job.job_id}/1/clip.mp4")
    assert (await core.record(job.job_id)).deleted


async def test_events_are_read_from_the_start_when_the_stream_was_wiped(core: Core, played_worker: PlayedWorker) -> None:
    """Ids of a new stream may be smaller than the stored position: a Redis without its data and with a slower clock."""
    await core.generate()
    await core.dispatcher.dispatch()
    job = await played_worker.claim(Lane.RENDER)
    await core.consume()
    await played_worker.redis.delete(played_worker.keys.events)
    event = JobStarted(job_id=job.job_id, attempt=2, seq=0, at=0, worker_id="w9", total_steps=1)
    await played_worker.redis.xadd(played_worker.keys.events, {"event": event.model_dump_json()}, id="5-1")
    await core.consumer.consume(1)
    await core.consume()
    assert (await core.record(job.job_id)).worker_id == "w9"


async def test_event_is_left_out_when_it_contradicts_the_rows(core: Core, played_worker: PlayedWorker) -> None:
    """A result of the wrong kind must not stop the stream, and leaves nothing behind."""
    clip, training = (await core.generate()).view.record, (await core.train()).view.record
    await core.dispatcher.dispatch()
    jobs = [await played_worker.claim(lane) for lane in (Lane.TRAIN, Lane.RENDER)]
    async with core.database.transaction() as tx:
        await tx.execute("CREATE TRIGGER broken BEFORE UPDATE OF state ON loras BEGIN SELECT RAISE(ABORT, 'broken'); END")
    for job in jobs:
        await played_worker.succeed(job)
    await core.consume()
    assert (await core.record(clip.job_id)).status is JobStatus.SUCCEEDED
    record = await core.record(training.job_id)
    assert (record.status, record.units_charged) == (JobStatus.RUNNING, None)


async def test_result_is_kept_when_the_job_ends_while_its_owner_cancels(core: Core, played_worker: PlayedWorker) -> None:
    """A job that has left its queue because it ended is not taken for one that was withdrawn."""
    await core.generate()
    await core.dispatcher.dispatch()
    job = await played_worker.claim(Lane.RENDER)
    await core.consume()
    await played_worker.succeed(job)
    assert (await core.services.jobs.cancel(job.job_id, actor())).record.status is JobStatus.RUNNING
    await core.consume()
    assert (await core.record(job.job_id)).status is JobStatus.SUCCEEDED
