"""A day in the line, in seconds: the real rules and the real SQLite rows, with workers and time made up."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ulid import ULID

from bot.config import BotSettings
from bot.services.estimates import Estimates
from bot.services.line import Line
from bot.services.scheduling import LOOK_AHEAD, arrange
from bot.storage import jobs as table
from bot.storage import line as line_table
from bot.storage.database import Database
from bot.storage.jobs import Ending
from engine.contracts.status import SHARED, JobStatus, Lane
from tests.support import contracts
from tests.support.database import NOW, new_job


@dataclass(frozen=True)
class Order:
    """One clip somebody will ask for."""

    at: float  # seconds after the start
    owner: int
    guild: int = 10
    plan: str = "free"
    units: int = 4


@dataclass(frozen=True)
class Served:
    """When it was asked for and began, seconds after the start."""

    order: Order
    began: float

    @property
    def waited(self) -> float:
        """Seconds in line."""
        return self.began - self.order.at


@dataclass
class LineSimulation:
    """One lane of `workers`, each clip taking `unit_s` for a unit."""

    database: Database
    workers: int = 1
    unit_s: float = 3.0
    now: float = NOW
    served: list[Served] = field(default_factory=list)

    async def run(self, orders: Iterable[Order]) -> list[Served]:
        """Play until every order has begun."""
        line = Line(BotSettings(), Estimates(self.database, self._clock), self._clock)
        coming = sorted(orders, key=lambda order: order.at)
        asked: dict[str, Order] = {}
        free_at = [0.0] * self.workers
        heapq.heapify(free_at)
        index = 0
        while index < len(coming) or asked:
            free = heapq.heappop(free_at)
            if not asked:
                free = max(free, coming[index].at)
            while index < len(coming) and coming[index].at <= free:
                self.now = NOW + coming[index].at
                asked[await self._submit(line, coming[index])] = coming[index]
                index += 1
            self.now = NOW + free
            job_id = await self._take()
            order = asked.pop(job_id)
            self.served.append(Served(order, free))
            heapq.heappush(free_at, free + order.units * self.unit_s)
        return self.served

    def _clock(self) -> float:
        return self.now

    async def _submit(self, line: Line, order: Order) -> str:
        job = contracts.generate_video(job_id=str(ULID()))
        async with self.database.transaction() as tx:
            facts: dict[str, Any] = {"owner_id": order.owner, "guild_id": order.guild, "units": order.units, "plan": order.plan}
            there = await line.place(tx, base=job.base, lane=Lane.RENDER, pool=SHARED, now=self.now, **facts)
            place = {"turn": there.turn, "fair_due": there.due, "fair_start": there.order}
            await table.insert(tx, new_job(job, created_at=self.now, **facts, **place))
        return job.job_id

    async def _take(self) -> str:
        waiting = await line_table.waiting(self.database.reader, "tiny", Lane.RENDER, SHARED, 1 + LOOK_AHEAD, 1)
        record = arrange(waiting, frozenset(), Lane.RENDER, 1)[0]
        async with self.database.transaction() as tx:
            await table.mark_dispatched(tx, record.job_id, self.now)
            # ended at once: how long it runs is the simulation's business
            await table.finish(tx, record.job_id, Ending(JobStatus.CANCELLED, 0, self.now))
        return record.job_id


def crowd(heavy: int) -> list[Order]:
    """One person with `heavy` jobs, and a second later ten with two each."""
    first = [Order(at=0.001 * number, owner=1) for number in range(heavy)]
    return first + [Order(at=1.0 + 0.001 * number, owner=2 + number % 10) for number in range(20)]


def overload(seed: int, seconds: float = 3600.0) -> list[Order]:
    """One and a half times of what a worker can do: one in four from premium people, in five servers."""
    chance, at, orders = random.Random(seed), 0.0, []
    while (at := at + chance.expovariate(1.5 / 12.0)) < seconds:
        premium = chance.random() < 0.25
        owner = chance.randrange(100) + (1000 if premium else 0)
        orders.append(Order(at, owner, guild=owner % 5, plan="premium" if premium else "free"))
    return orders
