"""What happens to LoRAs when a plan ends: frozen, warned about, deleted, each step told; and given back when a plan returns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import discord
import pytest

from bot.errors import Refusal, RefusalCode
from bot.notices import NoticeSender
from bot.services.plans import Holding, Plan, PlanSource
from bot.storage.loras import LoraState
from bot.ui.cards import Card
from engine.contracts.status import Lane
from tests.support.bot_core import GUILD, Core, PlayedWorker, actor, open_core
from tests.support.database import NOW
from tests.support.valkey import Valkey

DAY = 24 * 3600.0
HELD = Holding(PlanSource.DISCORD, "e1", Plan.PREMIUM, user_id=1, guild_id=None, starts_at=NOW - 1, ends_at=NOW + DAY)


@pytest.fixture
async def shop(tmp_path: Path, valkey: Valkey) -> AsyncIterator[Core]:
    """A bot where plans are sold; user 1 has premium for a day."""
    async with open_core(tmp_path / "bot", valkey.url, premium_skus="1") as opened:
        await opened.services.plans.hold(HELD)
        yield opened


async def trained_lora(core: Core, worker: PlayedWorker, name: str = "zoko") -> None:
    """A LoRA of user 1 with a file of a known size."""
    await core.train(name=name)
    await core.dispatcher.dispatch()
    await worker.succeed(await worker.claim(Lane.TRAIN))
    await core.consume()


async def told(core: Core) -> list[str]:
    """Kinds of the notices so far."""
    return [row["kind"] for row in await core.rows("notices")]


async def state(core: Core) -> tuple[str, float | None]:
    """State of the only LoRA, and since when it is frozen."""
    row = (await core.rows("loras"))[0]
    return row["state"], row["frozen_at"]


class Letterbox:
    """A client as far as notices need one; keeps what it was given to send."""

    def __init__(self) -> None:
        self.letters: list[str] = []

    def get_guild(self, _guild_id: int) -> None:
        """Not in the cache."""

    async def create_dm(self, _person: discord.Object) -> Letterbox:
        """Itself."""
        return self

    async def send(self, *, view: Card, **_: object) -> None:
        """Keep it."""
        self.letters.append(str(view.rendered()))


async def test_notice_to_a_person_is_in_the_language_of_the_server_they_last_worked_in(shop: Core, played_worker: PlayedWorker) -> None:
    """A direct message has no server of its own, and nobody's client is asked for its language."""
    box = Letterbox()
    sender = NoticeSender(box, shop.services.notices)  # type: ignore[arg-type]
    await trained_lora(shop, played_worker)
    await shop.services.servers.change(GUILD, language="de")
    shop.clock.now = NOW + DAY
    await shop.services.freezing.sweep()
    for notice in await shop.services.notices.due():
        await sender._send(notice)
    assert "### Dein Tarif hat geendet" in box.letters[-1]
    assert await shop.services.notices.due() == []


async def test_lora_is_frozen_kept_warned_about_and_deleted_when_the_plan_stays_over(shop: Core, played_worker: PlayedWorker) -> None:
    """Thirty days, four moments, four notices at most, and nothing twice."""
    await trained_lora(shop, played_worker)
    freezing = shop.services.freezing
    await freezing.sweep()
    assert await state(shop) == (LoraState.READY, None)
    shop.clock.now = NOW + DAY
    for _ in range(2):
        assert await freezing.sweep() == 0
    assert await state(shop) == (LoraState.READY, NOW + DAY)
    with pytest.raises(Refusal) as refused:
        await shop.generate(loras="zoko")
    assert refused.value.code is RefusalCode.LORA_FROZEN
    shop.clock.now = NOW + 25 * DAY
    await freezing.sweep()
    await freezing.sweep()
    assert await told(shop) == ["plan_ended", "loras_expiring"]
    shop.clock.now = NOW + 31 * DAY - 1
    assert await freezing.sweep() == 0
    shop.clock.now = NOW + 31 * DAY
    assert await freezing.sweep() == 1
    assert (await state(shop))[0] == LoraState.GONE
    assert await told(shop) == ["plan_ended", "loras_expiring", "loras_deleted"]
    assert await freezing.sweep() == 0


async def test_lora_can_be_used_again_when_the_plan_is_renewed(shop: Core, played_worker: PlayedWorker) -> None:
    """Whoever comes back in time finds everything as it was, with a full month before the next deletion."""
    await trained_lora(shop, played_worker)
    shop.clock.now = NOW + 20 * DAY
    await shop.services.freezing.sweep()
    await shop.services.plans.hold(Holding(PlanSource.DISCORD, "e2", Plan.PREMIUM, 1, None, shop.clock.now, None))
    await shop.services.freezing.sweep()
    assert await state(shop) == (LoraState.READY, None)
    assert await told(shop) == ["plan_ended", "loras_thawed"]
    assert (await shop.generate(loras="zoko")).view.record.units > 0


async def test_lora_stays_when_the_server_has_a_plan(shop: Core, played_worker: PlayedWorker) -> None:
    """A server's plan covers what was made in it."""
    await trained_lora(shop, played_worker)
    await shop.services.plans.hold(Holding(PlanSource.OPERATOR, "g", Plan.PREMIUM, None, GUILD, NOW, None))
    shop.clock.now = NOW + 90 * DAY
    assert await shop.services.freezing.sweep() == 0
    assert await state(shop) == (LoraState.READY, None)


async def test_training_is_refused_when_the_plan_has_ended_or_the_storage_is_full(shop: Core, played_worker: PlayedWorker) -> None:
    """Before anything is uploaded, with the reason."""
    await trained_lora(shop, played_worker)
    shop.set(premium_storage_bytes=1)
    with pytest.raises(Refusal) as full:
        await shop.train(name="dusk")
    assert full.value.code is RefusalCode.STORAGE_FULL
    shop.clock.now = NOW + 2 * DAY
    with pytest.raises(Refusal) as over:
        await shop.train(name="dusk")
    assert (over.value.code, over.value.facts["ended_at"]) == (RefusalCode.PLAN_NEEDED, NOW + DAY)
    storage = await shop.services.freezing.storage(actor())
    assert (storage.limit, storage.used > 0) == (0, True)


async def test_long_clip_is_refused_on_the_free_plan(shop: Core) -> None:
    """Premium renders what the installation allows, free stops at its own limit."""
    shop.set(free_video_seconds=1.0)
    await shop.generate(seconds=1.5)
    shop.clock.now = NOW + 2 * DAY
    with pytest.raises(Refusal) as refused:
        await shop.generate(seconds=1.5)
    assert (refused.value.code, refused.value.facts["feature"]) == (RefusalCode.PLAN_NEEDED, "long_clips")
    assert (await shop.generate(seconds=1.0)).view.record.plan == Plan.FREE


async def test_units_follow_the_plan_when_it_ends(shop: Core) -> None:
    """The day's units shrink with the plan; what was spent stays spent."""
    shop.set(free_daily_units=3, daily_units=50)
    quotas = shop.services.quotas
    assert (await quotas.status(actor())).limit == 50
    for _ in range(4):
        await shop.generate()
    await shop.services.plans.ended(PlanSource.DISCORD, "e1")
    status = await quotas.status(actor())
    assert (status.limit, status.left) == (3, 0)
    with pytest.raises(Refusal) as refused:
        await shop.generate()
    assert refused.value.code is RefusalCode.QUOTA_EXCEEDED
