"""What is handed out, in which order, and how losses heal."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from bot.dispatcher import GRACE_S, MAX_LOSSES
from bot.errors import Refusal, RefusalCode
from bot.services import estimates
from engine.contracts.failures import FailureCode
from engine.contracts.status import JobStatus, Lane
from tests.support.bot_core import Core, PlayedWorker, actor, open_core
from tests.support.valkey import Valkey

INTERACTION_S = 3.0  # what Discord waits for an answer


async def _settle(core: Core) -> None:
    """Two rounds of the reconciler, each seeing jobs that are no longer on their way."""
    core.clock.now += GRACE_S + 1
    await core.dispatcher.reconcile()
    await core.dispatcher.reconcile()


async def test_one_job_more_than_workers_is_handed_out_when_many_wait(core: Core, played_worker: PlayedWorker) -> None:
    """One runs, one is next; the others stay rows that can still be reordered."""
    for _ in range(5):
        await core.generate()
    assert [await core.dispatcher.dispatch() for _ in range(3)] == [2, 0, 0]
    await played_worker.succeed(await played_worker.claim(Lane.RENDER))
    await core.consume()
    assert await core.dispatcher.dispatch() == 1


async def test_nothing_is_handed_out_when_no_worker_serves_the_base(core: Core, played_worker: PlayedWorker) -> None:
    """Jobs wait in SQLite until somebody can do them."""
    await core.generate()
    played_worker.base = "ltx-2.3"
    await played_worker.announce()
    assert await core.dispatcher.dispatch() == 0


async def test_users_take_turns_when_one_of_them_queued_first(core: Core, played_worker: PlayedWorker) -> None:
    """Ten jobs of one person do not stand before the first of another."""
    for _ in range(10):
        await core.generate(actor(1))
    for user in (2, 3):
        await core.generate(actor(user))
    order = []
    for _ in range(12):
        await core.dispatcher.dispatch()
        job = await played_worker.claim(Lane.RENDER)
        await core.consume()
        order.append((await core.record(job.job_id)).owner_id)
        await played_worker.succeed(job)
        await core.consume()
    assert {2, 3} <= set(order[:4])
    assert order.count(1) == 10


async def test_newcomer_shares_evenly_when_somebody_has_worked_all_day(core: Core, played_worker: PlayedWorker) -> None:
    """A person who was idle does not get the lane for itself by what it did not use."""
    for _ in range(6):
        await core.generate(actor(1))
        await core.dispatcher.dispatch()
        await played_worker.succeed(await played_worker.claim(Lane.RENDER))
        await core.consume()
    for _ in range(4):
        await core.generate(actor(1))
        await core.generate(actor(2))
    order = []
    for _ in range(8):
        await core.dispatcher.dispatch()
        job = await played_worker.claim(Lane.RENDER)
        order.append((await core.record(job.job_id)).owner_id)
        await played_worker.succeed(job)
        await core.consume()
    assert order[:4].count(1) == order[:4].count(2) == 2


async def test_position_counts_who_goes_before_when_jobs_wait(core: Core, played_worker: PlayedWorker) -> None:
    """1 is the next to start; running jobs count nothing."""
    ids = [(await core.generate(actor(user))).view.record.job_id for user in (1, 2, 3)]
    await core.dispatcher.dispatch()
    running = await played_worker.claim(Lane.RENDER)
    await core.consume()
    rest = [job_id for job_id in ids if job_id != running.job_id]
    views = await core.services.jobs.views(rest)
    assert [views[job_id].position for job_id in rest] == [1, 2]
    assert all(view.eta is not None and view.eta > core.clock.now for view in views.values())
    assert (await core.services.jobs.get(running.job_id)).position is None


async def test_job_is_enqueued_again_with_its_id_when_redis_lost_everything(core: Core, played_worker: PlayedWorker) -> None:
    """After FLUSHALL the same job runs, with a higher attempt number."""
    await core.generate()
    await core.dispatcher.dispatch()
    first = await played_worker.claim(Lane.RENDER)
    await core.consume()
    await played_worker.redis.flushall()
    await played_worker.announce()
    await core.consume()
    await _settle(core)
    assert (await core.record(first.job_id)).status is JobStatus.QUEUED
    await core.dispatcher.dispatch()
    again = await played_worker.claim(Lane.RENDER)
    assert again == first
    assert await played_worker.attempt(again.job_id) == 2
    await played_worker.succeed(again)
    await core.consume()
    assert (await core.record(first.job_id)).status is JobStatus.SUCCEEDED


async def test_end_is_not_taken_for_a_loss_when_its_event_is_still_unread(core: Core, played_worker: PlayedWorker) -> None:
    """A job that left its queue because it ended is not run again, however late the event is read."""
    await core.generate()
    await core.dispatcher.dispatch()
    job = await played_worker.claim(Lane.RENDER)
    await core.consume()
    await played_worker.succeed(job)
    await _settle(core)
    assert (await core.record(job.job_id)).status is JobStatus.RUNNING
    await core.consume()
    assert (await core.record(job.job_id)).status is JobStatus.SUCCEEDED


async def test_job_waits_again_when_its_worker_is_dead(core: Core, played_worker: PlayedWorker) -> None:
    """The row says queued, arq still has the job, and the next worker's start is a start."""
    await core.generate()
    await core.dispatcher.dispatch()
    job = await played_worker.claim(Lane.RENDER)
    await core.consume()
    await played_worker.vanish()
    await _settle(core)
    assert (await core.record(job.job_id)).status is JobStatus.QUEUED
    second = PlayedWorker(played_worker.redis, worker_id="w2")
    await second.announce()
    assert await core.dispatcher.dispatch() == 1
    assert (await core.record(job.job_id)).status is JobStatus.DISPATCHED
    assert (await second.claim(Lane.RENDER)).job_id == job.job_id
    await core.consume()
    record = await core.record(job.job_id)
    assert (record.status, record.worker_id, record.attempt) == (JobStatus.RUNNING, "w2", 2)


async def test_job_is_given_up_with_refund_when_it_is_lost_too_often(core: Core, played_worker: PlayedWorker) -> None:
    """A job that vanishes again and again fails as WORKER_LOST and costs nothing."""
    job_id = (await core.generate()).view.record.job_id
    for _ in range(MAX_LOSSES + 1):
        await core.dispatcher.dispatch()
        await played_worker.redis.flushall()
        await played_worker.announce()
        await _settle(core)
    record = await core.record(job_id)
    assert (record.status, record.failure, record.units_charged) == (JobStatus.FAILED, FailureCode.WORKER_LOST, 0)


async def test_cancel_is_complete_when_the_job_is_lost_before_its_worker_heard(core: Core, played_worker: PlayedWorker) -> None:
    """A wanted cancel wins over running a lost job again."""
    await core.generate()
    await core.dispatcher.dispatch()
    job = await played_worker.claim(Lane.RENDER)
    await core.consume()
    await core.services.jobs.cancel(job.job_id, actor())
    await played_worker.redis.flushall()
    await core.consume()
    await _settle(core)
    assert (await core.record(job.job_id)).status is JobStatus.CANCELLED


async def test_submit_is_refused_at_once_when_redis_is_killed(core: Core, valkey: Valkey) -> None:
    """A dead Redis is said, not waited for; when it is back, so is the service."""
    await core.generate()
    valkey.kill()
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(Refusal) as refused:
            await core.generate()
        assert time.monotonic() - started < INTERACTION_S
        assert refused.value.code is RefusalCode.QUEUE_UNAVAILABLE
    assert len(await core.rows("jobs")) == 1
    valkey.start()
    await core.generate()


async def test_submit_is_refused_within_its_deadline_when_redis_hangs(core: Core, valkey: Valkey) -> None:
    """A Redis that accepts and never answers costs a person less than the 3 seconds of an interaction."""
    await core.generate()
    valkey.freeze()
    try:
        started = time.monotonic()
        outcomes = await asyncio.gather(*(core.generate() for _ in range(20)), return_exceptions=True)
        assert {outcome.code for outcome in outcomes if isinstance(outcome, Refusal)} <= {RefusalCode.QUEUE_UNAVAILABLE}
        assert time.monotonic() - started < INTERACTION_S
        started = time.monotonic()
        with pytest.raises(Refusal):
            await core.generate()
        assert time.monotonic() - started < INTERACTION_S
    finally:
        valkey.thaw()


async def test_cancel_is_kept_when_redis_is_away(core: Core, played_worker: PlayedWorker, valkey: Valkey) -> None:
    """The request is in SQLite and reaches Redis with the first round after its return."""
    await core.generate()
    await core.dispatcher.dispatch()
    job = await played_worker.claim(Lane.RENDER)
    await core.consume()
    valkey.freeze()
    try:
        assert (await core.services.jobs.cancel(job.job_id, actor())).record.cancel_requested
    finally:
        valkey.thaw()
    await core.dispatcher.reconcile()
    assert await played_worker.redis.exists(played_worker.keys.cancel(job.job_id))


async def test_everything_goes_on_when_the_bot_is_restarted_between_any_two_steps(tmp_path: Path, valkey: Valkey) -> None:
    """Each step of a job runs in another life of the bot."""
    folder = tmp_path / "bot"
    async with open_core(folder, valkey.url) as core:
        job_id = (await core.generate()).view.record.job_id
        worker = PlayedWorker(core.queue.redis)
        await worker.announce()
    async with open_core(folder, valkey.url) as core:
        await core.dispatcher.dispatch()
    async with open_core(folder, valkey.url) as core:
        worker = PlayedWorker(core.queue.redis)
        job = await worker.claim(Lane.RENDER)
        assert await core.dispatcher.dispatch() == 0
        await worker.succeed(job)
    for _ in range(2):
        async with open_core(folder, valkey.url) as core:
            await core.consume()
            assert (await core.record(job_id)).status is JobStatus.SUCCEEDED
            assert len(await core.services.posts.due()) == 1


async def test_position_far_behind_is_told_from_a_recent_look_when_the_line_is_long(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """Near the front it is counted; far behind it is that of a line looked at a moment ago, never better than what was counted."""
    ids = [(await core.generate(actor(user))).view.record.job_id for user in range(1, 13)]
    exact = [(await core.services.jobs.get(job_id)).position for job_id in ids]
    assert sorted(exact) == list(range(1, 13))
    monkeypatch.setattr(estimates, "NEAR", 5)
    assert [(await core.services.jobs.get(job_id)).position for job_id in ids] == exact
