"""Plans: who has which one, what it grants, and what its sources report.

A source (Discord's entitlements, an operator's grant, other billing) says only one thing, a `Holding`; it says it again when something
changes and `ended` when it is over. Nothing else in the bot knows where a plan came from.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from aiosqlite import Connection

from bot.clock import Clock
from bot.config import BotSettings
from bot.errors import Refusal, RefusalCode
from bot.storage import plans as table
from bot.storage.database import Database
from bot.storage.plans import Holding, Plan, PlanSource

__all__ = ["Feature", "Holding", "Plan", "PlanSource", "PlanTerms", "Plans", "Standing", "terms_of"]


class Feature(StrEnum):
    """What not every plan has.

    Keeping a LoRA to oneself is none of it: whoever may train may do so in private, since a LoRA can show a person. Workers and a queue
    of a server's own are the operator's to give (`CALLSHEET_DEDICATED_SERVERS`), not a plan's.
    """

    TRAINING = "training"
    LONG_CLIPS = "long_clips"


LEAST_PLAN: Mapping[Feature, Plan] = {
    Feature.TRAINING: Plan.PREMIUM,
    Feature.LONG_CLIPS: Plan.PREMIUM,
}


@dataclass(frozen=True)
class PlanTerms:
    """What a plan grants."""

    plan: Plan
    daily_units: int  # one person, all servers together
    max_seconds: float  # longest clip
    storage_bytes: int  # LoRA files one person may keep

    def has(self, feature: Feature) -> bool:
        """True when the plan includes `feature`."""
        return self.plan.rank >= LEAST_PLAN[feature].rank


def terms_of(plan: Plan, settings: BotSettings) -> PlanTerms:
    """The terms of `plan` in this installation."""
    longest = settings.max_video_seconds
    match plan:
        case Plan.FREE:
            return PlanTerms(plan, settings.free_daily_units, min(longest, settings.free_video_seconds), 0)
        case Plan.PREMIUM:
            return PlanTerms(plan, settings.daily_units, longest, settings.premium_storage_bytes)
        case Plan.ENTERPRISE:
            return PlanTerms(plan, settings.enterprise_daily_units, longest, settings.enterprise_storage_bytes)


@dataclass(frozen=True)
class Standing:
    """The plan of one person in one server now."""

    terms: PlanTerms
    by_server: bool  # the server's plan, not their own
    ends_at: float | None  # None: open-ended, or nothing that could end
    ended: Plan | None  # a better plan they had here before
    ended_at: float | None

    @property
    def plan(self) -> Plan:
        """Its name."""
        return self.terms.plan


class Plans:
    """The best of what the person and the server hold; `default_plan` for everybody who holds nothing."""

    def __init__(self, settings: BotSettings, database: Database, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self.followers: list[Callable[[Connection], Awaitable[object]]] = []
        """What else belongs into a transaction that changes who holds what."""

    async def plan_of(self, guild_id: int | None, user_id: int, db: Connection | None = None) -> Plan:
        """The plan of a person in a server (None: in a direct message), as `db` (default: the last commit) has it."""
        return (await self.standing(guild_id, user_id, db)).plan

    async def standing(self, guild_id: int | None, user_id: int, db: Connection | None = None) -> Standing:
        """That plan with its terms, its end, and what they had before."""
        now = self._clock()
        holdings = await table.of(db or self._database.reader, user_id, guild_id)
        active = [holding for holding in holdings if holding.active(now)]
        best = max(active, key=lambda held: (held.plan.rank, held.ends_at is None, held.ends_at or 0.0), default=None)
        default = Plan(self._settings.plan_without_purchase)
        if best is not None and best.plan.rank > default.rank:
            plan, by_server, ends_at = best.plan, best.guild_id is not None, best.ends_at
        else:
            plan, by_server, ends_at = default, False, None
        over = [held for held in holdings if held.ends_at is not None and held.ends_at <= now and held.plan.rank > plan.rank]
        last = max(over, key=lambda held: held.ends_at or 0.0, default=None)
        return Standing(
            terms=terms_of(plan, self._settings),
            by_server=by_server,
            ends_at=ends_at,
            ended=last.plan if last else None,
            ended_at=last.ends_at if last else None,
        )

    async def require(self, feature: Feature, guild_id: int | None, user_id: int, db: Connection | None = None) -> Standing:
        """The standing of somebody who has `feature`.

        Raises:
            Refusal: PLAN_NEEDED.
        """
        standing = await self.standing(guild_id, user_id, db)
        if not standing.terms.has(feature):
            raise plan_needed(feature, standing)
        return standing

    async def hold(self, holding: Holding) -> bool:
        """A source reports a plan, or that one has changed; True when that is news."""
        async with self._database.transaction() as tx:
            return await self._news(tx, [await table.put(tx, holding)])

    async def ended(self, source: PlanSource, reference: str) -> bool:
        """A source takes a plan back at once, as for a refund; True when that is news."""
        async with self._database.transaction() as tx:
            return await self._news(tx, [await table.end(tx, source, reference, self._clock())])

    async def reported(self, source: PlanSource, holdings: Collection[Holding], user_ids: Collection[int], guild_id: int | None) -> bool:
        """A source tells everything that these people and this server hold; what it leaves out is over. True when that is news."""
        now = self._clock()
        known = set(await table.open_ones(self._database.reader, source, now, user_ids, guild_id))
        if known == {holding for holding in holdings if holding.ends_at is None or holding.ends_at > now}:
            return False
        gone = {holding.reference for holding in known} - {holding.reference for holding in holdings}
        async with self._database.transaction() as tx:
            news = [await table.put(tx, holding) for holding in holdings]
            news += [await table.end(tx, source, reference, now) for reference in gone]
            return await self._news(tx, news)

    async def reconciled(self, source: PlanSource, holdings: Collection[Holding]) -> bool:
        """A source tells everything that anybody holds; what it leaves out is over. True when that is news."""
        now = self._clock()
        references = {holding.reference for holding in holdings}
        async with self._database.transaction() as tx:
            news = [await table.put(tx, holding) for holding in holdings]
            news += [await table.end(tx, source, one, now) for one in await table.references(tx, source, now) if one not in references]
            return await self._news(tx, news)

    async def _news(self, tx: Connection, changes: Collection[bool]) -> bool:
        if not any(changes):
            return False
        for follow in self.followers:
            await follow(tx)
        return True


def plan_needed(feature: Feature, standing: Standing) -> Refusal:
    """The answer to somebody whose plan does not include `feature`."""
    return Refusal(
        RefusalCode.PLAN_NEEDED,
        feature=feature,
        plan=standing.plan,
        needed=LEAST_PLAN[feature],
        ended=standing.ended,
        ended_at=standing.ended_at,
    )
