"""What admins and the operator do, and how far it reaches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.errors import Refusal, RefusalCode
from bot.services.plans import Plan
from bot.services.servers import Limits, QuotaWindow
from engine.contracts.results import VideoRendered
from engine.contracts.status import JobStatus, Lane
from tests.support.bot_core import GUILD, Core, PlayedWorker, actor
from tests.support.database import NOW

ADMIN = actor(2, name="boss", is_admin=True)
STRANGER = replace(ADMIN, user_id=3, guild_id=11)
OPERATOR = actor(9, name="operator", guild_id=11)


async def done(core: Core, worker: PlayedWorker) -> str:
    """A finished clip of user 1; its id."""
    job = (await core.generate()).view.record
    await core.dispatcher.dispatch()
    await worker.succeed(await worker.claim(Lane.RENDER))
    await core.consume()
    return job.job_id


async def test_refund_gives_the_units_back_once_and_is_written_down(core: Core, played_worker: PlayedWorker) -> None:
    """The job says that it cost nothing; the log channel hears of it; the second time there is nothing to give."""
    await core.services.servers.change(GUILD, log_channel_id=77)
    job_id = await done(core, played_worker)
    spent = (await core.services.quotas.status(actor())).used
    record, units = await core.services.administration.refund(ADMIN, job_id)
    assert (record.owner_id, units) == (1, spent)
    assert (await core.services.quotas.status(actor())).used == 0
    assert (await core.record(job_id)).units_charged == 0
    with pytest.raises(Refusal) as again:
        await core.services.administration.refund(ADMIN, job_id)
    assert (again.value.code, again.value.facts) == (RefusalCode.NOTHING_TO_REFUND, {"open": False})
    notices = await core.rows("notices")
    assert [(row["kind"], row["channel_id"]) for row in notices] == [("admin_acted", 77)]


async def test_refund_is_refused_when_the_job_has_not_ended(core: Core) -> None:
    """What runs is cancelled, not refunded."""
    job_id = (await core.generate()).view.record.job_id
    with pytest.raises(Refusal) as refused:
        await core.services.administration.refund(ADMIN, job_id)
    assert (refused.value.code, refused.value.facts) == (RefusalCode.NOTHING_TO_REFUND, {"open": True})


@pytest.mark.parametrize("job_id", ["nonsense", "01JD0000000000000000000009", "' OR 1=1 --", ""])
async def test_job_of_another_server_is_unknown_as_one_that_never_was(core: Core, job_id: str) -> None:
    """An admin elsewhere learns nothing, the operator is let through."""
    core.set(operators="9")
    real = (await core.generate()).view.record.job_id
    for wanted in (real, job_id):
        for act in (core.services.administration.refund, core.services.administration.cancel):
            with pytest.raises(Refusal) as refused:
                await act(STRANGER, wanted)
            assert refused.value.code is RefusalCode.JOB_UNKNOWN
    assert (await core.services.administration.cancel(OPERATOR, real)).record.status is JobStatus.CANCELLED


async def test_takedown_deletes_what_the_job_left(core: Core, played_worker: PlayedWorker) -> None:
    """The file is gone and the row says why nobody can see it."""
    job_id = await done(core, played_worker)
    before = await core.record(job_id)
    assert (await core.services.administration.take_down(ADMIN, job_id, "not ours")).record.job_id == job_id
    assert (await core.record(job_id)).withheld == "takedown"
    assert isinstance(before.result, VideoRendered)
    assert not await core.store.exists(before.result.file.key)


async def test_block_holds_in_its_server_only_unless_the_operator_sets_it(core: Core) -> None:
    """Nobody blocks oneself or the operator; everywhere is the operator's word."""
    core.set(operators="9")
    office, gate = core.services.administration, core.services.gate
    for guild_id in (GUILD, 11):
        await core.services.terms.accept(actor(guild_id=guild_id))
    await office.block(ADMIN, 1, "spam", everywhere=False)
    with pytest.raises(Refusal) as here:
        await gate.check("/generate", actor(), (20,))
    assert (here.value.code, here.value.facts) == (RefusalCode.BLOCKED, {"reason": "spam", "everywhere": False})
    await gate.check("/generate", actor(guild_id=11), (20,))
    await gate.check("job:cancel", actor(), (20,), (await core.generate()).view.record.job_id)
    for victim in (2, 9):
        with pytest.raises(Refusal) as refused:
            await office.block(ADMIN, victim, "", everywhere=False)
        assert refused.value.code is RefusalCode.BLOCK_REFUSED
    with pytest.raises(Refusal) as alone:
        await office.block(ADMIN, 1, "", everywhere=True)
    assert alone.value.code is RefusalCode.NOT_OPERATOR
    await office.block(OPERATOR, 1, "", everywhere=True)
    await office.unblock(ADMIN, 1, everywhere=False)
    with pytest.raises(Refusal):
        await gate.check("/generate", actor(guild_id=11), (20,))
    await office.unblock(OPERATOR, 1, everywhere=True)
    await gate.check("/generate", actor(), (20,))


async def test_grant_is_replaced_by_the_next_and_taken_back(core: Core) -> None:
    """One grant per person or server; its end is the operator's choice."""
    core.set(default_plan="free")
    office, plans = core.services.administration, core.services.plans
    await office.grant(OPERATOR, Plan.PREMIUM, user_id=1, days=30)
    await office.grant(OPERATOR, Plan.ENTERPRISE, user_id=1, days=None)
    assert (await plans.standing(GUILD, 1)).plan is Plan.ENTERPRISE
    await office.grant(OPERATOR, Plan.FREE, user_id=1, days=None)
    assert await plans.plan_of(GUILD, 1) is Plan.FREE
    with pytest.raises(Refusal) as nothing:
        await office.grant(OPERATOR, Plan.FREE, user_id=1, days=None)
    assert nothing.value.code is RefusalCode.NOT_GRANTED
    held = await office.grant(OPERATOR, Plan.PREMIUM, user_id=None, days=1)
    assert held is not None
    assert (held.guild_id, held.ends_at) == (11, NOW + 86400)
    with pytest.raises(Refusal) as refused:
        await office.grant(OPERATOR, Plan.PREMIUM, user_id=1, days=0)
    assert refused.value.code is RefusalCode.SETTING_OUT_OF_RANGE


async def test_usage_adds_up_a_server_and_nothing_else(core: Core, played_worker: PlayedWorker) -> None:
    """Days, people and jobs of this server; another server's are not in it."""
    await done(core, played_worker)
    await core.generate(actor(4, name="other"))
    report = await core.services.administration.usage(GUILD, 7)
    assert (len(report.days), report.people, report.spent) == (7, 2, report.days[-1].spent)
    assert report.days[-1].held > 0
    assert [user for user, _ in report.top] == [1]
    assert {(count.kind, count.status, count.jobs) for count in report.jobs} == {
        ("generate_video", "succeeded", 1),
        ("generate_video", "queued", 1),
    }
    assert (await core.services.administration.usage(11, 7)).jobs == ()


async def test_choices_find_jobs_of_this_server_by_name_and_prompt(core: Core) -> None:
    """Open ones for cancel, ended ones for refunds; another server sees none."""
    record = (await core.generate(prompt="a RED ball")).view.record
    office = core.services.administration
    assert [found.job_id for found in await office.choices(ADMIN, "red", running=True)] == [record.job_id]
    assert [found.job_id for found in await office.choices(ADMIN, "maker", running=True)] == [record.job_id]
    assert await office.choices(ADMIN, "blue", running=True) == []
    assert await office.choices(ADMIN, "", running=False) == []
    assert await office.choices(STRANGER, "", running=True) == []


async def test_settings_survive_a_restart_and_are_refused_out_of_range(core: Core) -> None:
    """What is set is what the next process reads; a wrong number changes nothing."""
    servers = core.services.servers
    await servers.change(GUILD, limits=Limits(user_units=5), server_units=9, window=QuotaWindow.MONTH, language="de")
    await servers.allow_channel(GUILD, 20, allowed=True)
    await servers.allow_role(GUILD, 70, allowed=True)
    wanted = await servers.limit_role(GUILD, 70, Limits(running=2))
    servers.forget(GUILD)
    assert await servers.get(GUILD) == wanted
    assert (wanted.channels, wanted.roles, wanted.role_limits) == (frozenset({20}), frozenset({70}), {70: Limits(running=2)})
    for changes in ({"limits": Limits(user_units=-1)}, {"limits": Limits(running=0)}, {"server_units": 10**12}):
        with pytest.raises(Refusal) as refused:
            await servers.change(GUILD, **changes)
        assert refused.value.code is RefusalCode.SETTING_OUT_OF_RANGE
    assert await servers.get(GUILD) == wanted
    assert (await servers.limit_role(GUILD, 70, Limits())).role_limits == {}
    assert (await servers.allow_channel(GUILD, 20, allowed=False)).channels == frozenset()
    for number in range(50):
        await servers.allow_channel(GUILD, 100 + number, allowed=True)
    with pytest.raises(Refusal) as full:
        await servers.allow_channel(GUILD, 99, allowed=True)
    assert full.value.code is RefusalCode.TOO_MANY_PLACES


async def test_servers_defaults_are_used_when_nothing_else_is_said(core: Core, played_worker: PlayedWorker) -> None:
    """`none` takes the default LoRAs out again."""
    await core.train(name="zoko")
    await core.dispatcher.dispatch()
    await played_worker.succeed(await played_worker.claim(Lane.TRAIN))
    await core.consume()
    await core.services.servers.change(GUILD, default_loras="zoko:0.5", default_quality="fast")
    job = (await core.generate()).view.record.job
    assert ([(use.name, use.weight) for use in job.adapters], job.quality) == ([("zoko", 0.5)], "fast")
    assert (await core.generate(loras="none")).view.record.job.adapters == ()
