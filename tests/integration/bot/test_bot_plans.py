"""Plans: the best of what a person and their server hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.config import BotSettings
from bot.errors import Refusal, RefusalCode
from bot.services.plans import Feature, Holding, Plan, Plans, PlanSource
from bot.storage.database import Database
from tests.support.bot_core import ManualClock
from tests.support.database import NOW

PREMIUM = Holding(PlanSource.DISCORD, "e1", Plan.PREMIUM, user_id=1, guild_id=None, starts_at=NOW, ends_at=None)
SERVERS = Holding(PlanSource.OPERATOR, "g1", Plan.ENTERPRISE, user_id=None, guild_id=10, starts_at=NOW, ends_at=NOW + 100)


@pytest.fixture
def clock() -> ManualClock:
    """Stands at NOW."""
    return ManualClock()


@pytest.fixture
def plans(database: Database, clock: ManualClock) -> Plans:
    """Where plans are sold."""
    return Plans(BotSettings(premium_skus="1"), database, clock)


async def test_plan_is_the_best_of_person_and_server_when_both_hold_one(plans: Plans) -> None:
    """A server's plan counts there only, a person's everywhere."""
    assert await plans.plan_of(10, 1) is Plan.FREE
    await plans.hold(PREMIUM)
    await plans.hold(SERVERS)
    assert [await plans.plan_of(guild, 1) for guild in (10, 11, None)] == [Plan.ENTERPRISE, Plan.PREMIUM, Plan.PREMIUM]
    assert [await plans.plan_of(guild, 2) for guild in (10, 11, None)] == [Plan.ENTERPRISE, Plan.FREE, Plan.FREE]


async def test_plan_falls_back_when_the_better_one_ends(plans: Plans, clock: ManualClock) -> None:
    """At its end, not before; and the end is remembered."""
    await plans.hold(PREMIUM)
    await plans.hold(SERVERS)
    clock.now = NOW + 99.9
    assert await plans.plan_of(10, 1) is Plan.ENTERPRISE
    clock.now = NOW + 100
    standing = await plans.standing(10, 1)
    assert (standing.plan, standing.ended, standing.ended_at) == (Plan.PREMIUM, Plan.ENTERPRISE, NOW + 100)


async def test_plan_is_gone_at_once_when_it_is_refunded(plans: Plans) -> None:
    """Told once or twice."""
    await plans.hold(PREMIUM)
    assert await plans.ended(PlanSource.DISCORD, "e1")
    assert not await plans.ended(PlanSource.DISCORD, "e1")
    with pytest.raises(Refusal) as refused:
        await plans.require(Feature.TRAINING, 10, 1)
    assert refused.value.code is RefusalCode.PLAN_NEEDED
    assert refused.value.facts["ended_at"] == NOW


async def test_report_ends_what_it_leaves_out_when_the_refund_was_missed(plans: Plans) -> None:
    """A source's full list heals events that were lost while the bot was away; other sources and people are not touched."""
    await plans.hold(PREMIUM)
    await plans.hold(SERVERS)
    await plans.hold(replace(PREMIUM, reference="e2", user_id=2))
    assert await plans.reported(PlanSource.DISCORD, [], [1], 10)
    assert [await plans.plan_of(10, 1), await plans.plan_of(11, 1), await plans.plan_of(11, 2)] == [
        Plan.ENTERPRISE,
        Plan.FREE,
        Plan.PREMIUM,
    ]
    assert not await plans.reported(PlanSource.DISCORD, [], [1], 10)
    ending = replace(PREMIUM, reference="e2", user_id=2, ends_at=NOW + 5)
    assert await plans.reported(PlanSource.DISCORD, [ending], [2], 10)
    assert not await plans.reported(PlanSource.DISCORD, [ending], [2], 10)


async def test_renewal_is_news_once_when_reported_again(plans: Plans, clock: ManualClock) -> None:
    """The same reference with another end changes the holding."""
    assert await plans.hold(replace(PREMIUM, ends_at=NOW + 10))
    assert not await plans.hold(replace(PREMIUM, ends_at=NOW + 10))
    assert await plans.hold(replace(PREMIUM, ends_at=NOW + 50))
    clock.now = NOW + 20
    assert await plans.plan_of(None, 1) is Plan.PREMIUM


@pytest.mark.parametrize(
    ("settings", "plan"), [({}, Plan.PREMIUM), ({"premium_skus": "7"}, Plan.FREE), ({"default_plan": "enterprise"}, Plan.ENTERPRISE)]
)
async def test_everybody_has_the_default_plan_when_they_hold_nothing(
    database: Database, clock: ManualClock, settings: dict[str, str], plan: Plan
) -> None:
    """Who runs Callsheet for themselves sells nothing and withholds nothing."""
    assert await Plans(BotSettings(**settings), database, clock).plan_of(10, 1) is plan
