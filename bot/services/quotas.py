"""Daily units per person: reserved with the job row, settled or given back with its end, all in an append-only ledger."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aiosqlite import Connection

from bot.clock import Clock
from bot.errors import Refusal, RefusalCode
from bot.services.values import Actor
from bot.storage import ledger
from bot.storage.database import Database

WINDOW_S = 24 * 3600


@dataclass(frozen=True)
class QuotaStatus:
    """Units of one person in the current window (a UTC day)."""

    limit: int
    used: int  # spent for good
    reserved: int  # held by open jobs
    resets_at: float  # unix seconds

    @property
    def left(self) -> int:
        """What a new job may cost."""
        return max(0, self.limit - self.used - self.reserved)


def exceeded(units: int, status: QuotaStatus) -> Refusal:
    """The answer to somebody who asks for more than is left."""
    return Refusal(RefusalCode.QUOTA_EXCEEDED, needed=units, left=status.left, limit=status.limit, resets_at=status.resets_at)


def window_of(now: float) -> float:
    """Start of the UTC day `now` lies in, in unix seconds."""
    return float(now // WINDOW_S * WINDOW_S)


def charge_for(units: int, steps_done: int, total_steps: int) -> int:
    """Units a job that was stopped pays: its share of the price, rounded up, never more than the price."""
    if steps_done <= 0 or total_steps <= 0:
        return 0
    return min(units, math.ceil(units * steps_done / total_steps))


class Quotas:
    """Rules of the ledger. `reserve` and `end` work inside the caller's transaction, beside the job row they belong to."""

    def __init__(self, database: Database, clock: Clock, daily_units: int) -> None:
        self._database = database
        self._clock = clock
        self._daily_units = daily_units

    async def status(self, actor: Actor) -> QuotaStatus:
        """Where `actor` stands now."""
        return await self._status(self._database.reader, actor)

    async def reserve(self, tx: Connection, actor: Actor, job_id: str, units: int) -> None:
        """Hold `units` for a job.

        Raises:
            Refusal: QUOTA_EXCEEDED; the caller's transaction must not go on.
        """
        now = self._clock()
        limit = await ledger.daily_limit(tx, actor.user_id, actor.guild_id, self._daily_units)
        wanted = ledger.Reservation(job_id, actor.user_id, actor.guild_id, window_of(now), units, limit, now)
        if not await ledger.reserve(tx, wanted):
            raise exceeded(units, await self._status(tx, actor))

    async def end(self, tx: Connection, job_id: str, charged: int) -> None:
        """Settle (`charged` units) or refund (0) what the job holds; a second call changes nothing."""
        await ledger.end(tx, job_id, charged, self._clock())

    async def _status(self, db: Connection, actor: Actor) -> QuotaStatus:
        window = window_of(self._clock())
        balance = await ledger.balance(db, actor.user_id, window)
        limit = await ledger.daily_limit(db, actor.user_id, actor.guild_id, self._daily_units)
        return QuotaStatus(limit=limit, used=balance.spent, reserved=balance.held, resets_at=window + WINDOW_S)
