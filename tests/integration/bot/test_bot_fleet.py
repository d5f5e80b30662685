"""Which workers get which jobs: pools, capabilities, versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.errors import Refusal, RefusalCode
from bot.services.fleet import Lack
from engine.contracts.status import SHARED, JobStatus, Lane, pool_of
from engine.contracts.wire import CONTRACT_VERSION
from tests.support.bot_core import GUILD, Core, PlayedWorker, actor, open_core, place
from tests.support.valkey import Valkey

OWN = pool_of(GUILD)


async def _status(core: Core, job_id: str) -> tuple[str, JobStatus]:
    record = await core.record(job_id)
    return record.pool, record.status


async def test_servers_own_work_is_done_by_its_own_workers_only(tmp_path: Path, valkey: Valkey) -> None:
    """A shared worker never sees it; the server's own takes it."""
    async with open_core(tmp_path / "bot", valkey.url, dedicated_servers={GUILD: None}) as core:
        shared = PlayedWorker(core.queue.redis)
        await shared.announce()
        job_id = (await core.generate()).view.record.job_id
        elsewhere = (await core.generate(place=place(guild_id=99))).view.record.job_id
        assert await core.dispatcher.dispatch() == 1
        assert await _status(core, job_id) == (OWN, JobStatus.QUEUED)
        assert (await shared.claim(Lane.RENDER)).job_id == elsewhere
        own = PlayedWorker(core.queue.redis, worker_id="w2", serves=(OWN,))
        await own.announce()
        assert await core.dispatcher.dispatch() == 1
        assert (await own.claim(Lane.RENDER)).job_id == job_id


async def test_clip_spills_over_when_the_servers_workers_are_busy_for_too_long(tmp_path: Path, valkey: Valkey) -> None:
    """By configuration, and only when somebody else can take it."""
    async with open_core(tmp_path / "bot", valkey.url, dedicated_servers={GUILD: 30.0}) as core:
        job_id = (await core.generate()).view.record.job_id
        core.clock.now += 31
        await core.dispatcher.dispatch()
        assert await _status(core, job_id) == (OWN, JobStatus.QUEUED)
        await PlayedWorker(core.queue.redis).announce()
        await core.dispatcher.dispatch()
        assert await _status(core, job_id) == (SHARED, JobStatus.DISPATCHED)


async def test_trainings_and_clips_with_the_servers_loras_never_spill_over(tmp_path: Path, valkey: Valkey) -> None:
    """Its pictures and its LoRAs stay on its workers, even when a member uses one elsewhere."""
    async with open_core(tmp_path / "bot", valkey.url, dedicated_servers={GUILD: 0.0}) as core:
        worker = PlayedWorker(core.queue.redis, serves=(OWN, SHARED))
        await worker.announce()
        training = (await core.train()).view.record
        await core.dispatcher.dispatch()
        job = await worker.claim(Lane.TRAIN)
        await worker.succeed(job)
        await core.consume()
        used = (await core.generate(loras="zoko", place=place(guild_id=99), who=actor(guild_id=99))).view.record
        core.clock.now += 100
        await core.dispatcher.dispatch()
        assert (training.pool, used.pool) == (OWN, OWN)
        assert (await core.record(used.job_id)).pool == OWN


@pytest.mark.parametrize(
    ("changes", "lack"),
    [({"lanes": (Lane.TRAIN,)}, Lack.LANE), ({"memory_bytes": 8 * 10**9, "base": "ltx-2.3"}, Lack.MEMORY)],
)
async def test_submit_is_refused_when_no_worker_can_ever_do_it(
    tmp_path: Path, valkey: Valkey, changes: dict[str, object], lack: Lack
) -> None:
    """Said at once, with the reason, and nothing is charged."""
    base = str(changes.get("base", "tiny"))
    async with open_core(tmp_path / "bot", valkey.url, base=base) as core:
        await PlayedWorker(core.queue.redis, **changes).announce()  # type: ignore[arg-type]
        await core.dispatcher.dispatch()
        with pytest.raises(Refusal) as refused:
            await core.generate()
        assert (refused.value.code, refused.value.facts["lack"]) == (RefusalCode.NOBODY_SERVES, lack)
        assert await core.rows("jobs") == await core.rows("ledger") == []


async def test_job_that_needs_a_new_worker_waits_and_lets_others_pass_when_only_old_ones_are_up(core: Core) -> None:
    """Old workers go on with what they understand."""
    old = PlayedWorker(core.queue.redis, contract_version=1)
    await old.announce()
    newer = (await core.generate()).view.record.job_id
    async with core.database.transaction() as tx:
        await tx.execute("UPDATE jobs SET contract_version = ? WHERE job_id = ?", (CONTRACT_VERSION, newer))
    ordinary = (await core.generate()).view.record.job_id
    assert await core.dispatcher.dispatch() == 1
    assert (await _status(core, newer))[1] is JobStatus.QUEUED
    assert (await old.claim(Lane.RENDER)).job_id == ordinary
    await PlayedWorker(core.queue.redis, worker_id="w2").announce()
    assert await core.dispatcher.dispatch() == 1
    assert (await _status(core, newer))[1] is JobStatus.DISPATCHED


async def test_announcement_of_a_newer_worker_is_used_when_it_says_more_than_we_know(core: Core) -> None:
    """A worker that was upgraded first is not ignored."""
    worker = PlayedWorker(core.queue.redis)
    await worker.announce(more={"colour": "green"})
    assert [status.worker_id for status in await core.queue.workers()] == ["w1"]
