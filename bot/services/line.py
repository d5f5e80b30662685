"""The line a job waits in: its pool of workers and its place there, as `scheduling` has it, from what SQLite and the settings know."""

from __future__ import annotations

from dataclasses import dataclass

from aiosqlite import Connection

from bot.clock import Clock
from bot.config import BotSettings
from bot.services.estimates import Estimates
from bot.services.scheduling import MAX_SERVER_WAITING, Place, place
from bot.storage import line as table
from bot.storage import loras as loras_table
from bot.storage.jobs import JobRecord
from engine.contracts.jobs import GenerateVideo, Work, lane_of
from engine.contracts.status import SHARED, Lane, pool_of


@dataclass(frozen=True)
class Routing:
    """Which workers may run a job. `spill_at`: from then on (unix seconds) the shared ones may, too."""

    pool: str
    spill_at: float | None


@dataclass(frozen=True)
class Line:
    """Routes new jobs and gives them their place, inside the transaction that inserts them."""

    settings: BotSettings
    estimates: Estimates
    clock: Clock

    async def route(self, tx: Connection, job: Work, guild_id: int | None) -> Routing:
        """A server with workers of its own has its work done there, and its LoRAs are used nowhere else."""
        dedicated = self.settings.dedicated_servers
        if not dedicated:
            return Routing(SHARED, None)
        used = [use.lora_id for use in job.adapters] if isinstance(job, GenerateVideo) else []
        homes = [home for home in await loras_table.guilds_of(tx, used) if home in dedicated]
        if homes:
            return Routing(pool_of(homes[0]), None)
        if guild_id is None or guild_id not in dedicated:
            return Routing(SHARED, None)
        patience_s = dedicated[guild_id] if isinstance(job, GenerateVideo) else None
        return Routing(pool_of(guild_id), None if patience_s is None else self.clock() + patience_s)

    async def place(
        self, tx: Connection, *, base: str, lane: Lane, pool: str, owner_id: int, guild_id: int | None, units: int, plan: str, now: float
    ) -> Place:
        """The place of a job that came at `now`."""
        seconds = units * await self.estimates.seconds_per_unit(base, lane)
        around = await table.neighbourhood(
            tx, base=base, lane=lane, pool=pool, owner_id=owner_id, guild_id=guild_id, count_to=MAX_SERVER_WAITING
        )
        return place(now, seconds, lane, plan, around)

    async def move(self, tx: Connection, record: JobRecord, pool: str) -> None:
        """Let a waiting job wait in another pool, as if it had come there at once."""
        there = await self.place(
            tx,
            base=record.base,
            lane=lane_of(record.job),
            pool=pool,
            owner_id=record.owner_id,
            guild_id=record.guild_id,
            units=record.units,
            plan=record.plan,
            now=record.created_at,
        )
        await table.move_pool(tx, record.job_id, pool, there.order, there.due, there.turn)
