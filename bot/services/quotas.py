"""Units: reserved with the job row, settled or given back with its end, all in an append-only ledger.

Three limits hold at once: what the person's plan grants per day in all servers together, what their server (or a role of theirs) grants
them per window, and what the server grants everybody together per window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from aiosqlite import Connection

from bot.clock import Clock
from bot.errors import Refusal, RefusalCode
from bot.services.plans import Plans
from bot.services.servers import Limits, QuotaWindow, Servers, ServerSettings, limits_for
from bot.services.values import Actor
from bot.storage import ledger
from bot.storage.database import Database
from bot.storage.ledger import Balance

WINDOW_S = 24 * 3600


class Scope(StrEnum):
    """Whose units a limit counts."""

    PERSON = "person"  # one person's, everywhere, per day: their plan
    MEMBER = "member"  # one person's in this server, per window
    SERVER = "server"  # everybody's in this server, per window


@dataclass(frozen=True)
class QuotaStatus:
    """Units under one limit in its current window."""

    limit: int
    used: int  # spent for good
    reserved: int  # held by open jobs
    resets_at: float  # unix seconds
    scope: Scope = Scope.PERSON
    window: QuotaWindow = QuotaWindow.DAY

    @property
    def left(self) -> int:
        """What a new job may cost."""
        return max(0, self.limit - self.used - self.reserved)


@dataclass(frozen=True)
class UsageDay:
    """Units of one UTC day."""

    day: float  # its start, unix seconds
    spent: int
    held: int


def exceeded(units: int, status: QuotaStatus) -> Refusal:
    """The answer to somebody who asks for more than is left."""
    return Refusal(
        RefusalCode.QUOTA_EXCEEDED,
        needed=units,
        left=status.left,
        limit=status.limit,
        resets_at=status.resets_at,
        scope=status.scope,
        window=status.window,
    )


def window_of(now: float) -> float:
    """Start of the UTC day `now` lies in, in unix seconds."""
    return float(now // WINDOW_S * WINDOW_S)


def bounds_of(window: QuotaWindow, now: float) -> tuple[float, float]:
    """Start and end of the UTC day, the week from Monday, or the month `now` lies in, in unix seconds."""
    today = datetime.fromtimestamp(window_of(now), UTC)
    match window:
        case QuotaWindow.DAY:
            start, end = today, today + timedelta(days=1)
        case QuotaWindow.WEEK:
            start = today - timedelta(days=today.weekday())
            end = start + timedelta(weeks=1)
        case QuotaWindow.MONTH:
            start = today.replace(day=1)
            end = (start + timedelta(days=32)).replace(day=1)
    return start.timestamp(), end.timestamp()


def charge_for(units: int, steps_done: int, total_steps: int) -> int:
    """Units a job that was stopped pays: its share of the price, rounded up, never more than the price."""
    if steps_done <= 0 or total_steps <= 0:
        return 0
    return min(units, math.ceil(units * steps_done / total_steps))


class Quotas:
    """Rules of the ledger. `reserve` and `end` work inside the caller's transaction, beside the job row they belong to."""

    def __init__(self, database: Database, clock: Clock, plans: Plans, servers: Servers) -> None:
        self._database = database
        self._clock = clock
        self._plans = plans
        self.servers = servers

    async def status(self, actor: Actor) -> QuotaStatus:
        """The limit that leaves `actor` least, now."""
        return _tightest(await self.meters(actor))

    async def meters(self, actor: Actor, db: Connection | None = None) -> list[QuotaStatus]:
        """Every limit that holds for `actor`, their plan's first."""
        db, now = db or self._database.reader, self._clock()
        settings = await self.servers.get(actor.guild_id)
        start, end = bounds_of(settings.window, now)
        today = window_of(now)
        found = [_meter(await self._daily_limit(db, actor), await ledger.of_user(db, actor.user_id, today), today + WINDOW_S)]
        mine = limits_for(settings, actor.role_ids).user_units
        if mine is not None:
            balance = await ledger.of_member(db, actor.guild_id, actor.user_id, start)
            found.append(_meter(mine, balance, end, Scope.MEMBER, settings.window))
        if settings.server_units is not None:
            balance = await ledger.of_server(db, actor.guild_id, start)
            found.append(_meter(settings.server_units, balance, end, Scope.SERVER, settings.window))
        return found

    async def limits(self, actor: Actor) -> Limits:
        """What the server grants this person."""
        return limits_for(await self.servers.get(actor.guild_id), actor.role_ids)

    async def history(self, actor: Actor, days: int) -> list[UsageDay]:
        """A person's latest days, today last, days without anything included."""
        today = window_of(self._clock())
        known = await ledger.days_of_user(self._database.reader, actor.user_id, today - (days - 1) * WINDOW_S)
        return fill_days(known, today, days)

    async def reserve(self, tx: Connection, actor: Actor, job_id: str, units: int) -> None:
        """Hold `units` for a job.

        Raises:
            Refusal: QUOTA_EXCEEDED; the caller's transaction must not go on.
        """
        now = self._clock()
        settings = await self.servers.get(actor.guild_id)
        if not await ledger.reserve(tx, await self._wanted(tx, actor, settings, job_id, units, now)):
            meters = await self.meters(actor, tx)
            raise exceeded(units, _tightest([meter for meter in meters if meter.left < units] or meters))

    async def end(self, tx: Connection, job_id: str, charged: int) -> None:
        """Settle (`charged` units) or refund (0) what the job holds; a second call changes nothing."""
        await ledger.end(tx, job_id, charged, self._clock())

    async def credit(self, tx: Connection, job_id: str) -> int:
        """Give back what an ended job was charged; the units, 0 the second time."""
        return await ledger.credit(tx, job_id, self._clock())

    async def _wanted(
        self, tx: Connection, actor: Actor, settings: ServerSettings, job_id: str, units: int, now: float
    ) -> ledger.Reservation:
        return ledger.Reservation(
            job_id=job_id,
            user_id=actor.user_id,
            guild_id=actor.guild_id,
            day=window_of(now),
            units=units,
            now=now,
            daily_limit=await self._daily_limit(tx, actor),
            since=bounds_of(settings.window, now)[0],
            user_limit=limits_for(settings, actor.role_ids).user_units,
            server_limit=settings.server_units,
        )

    async def _daily_limit(self, db: Connection, actor: Actor) -> int:
        own = await ledger.own_daily_limit(db, actor.user_id)
        return own if own is not None else (await self._plans.standing(actor.guild_id, actor.user_id, db)).terms.daily_units


def fill_days(known: dict[float, Balance], today: float, days: int) -> list[UsageDay]:
    """`days` days up to `today`, empty ones included."""
    starts = [today - back * WINDOW_S for back in reversed(range(days))]
    empty = Balance(0, 0)
    return [UsageDay(start, known.get(start, empty).spent, known.get(start, empty).held) for start in starts]


def _meter(
    limit: int, balance: Balance, resets_at: float, scope: Scope = Scope.PERSON, window: QuotaWindow = QuotaWindow.DAY
) -> QuotaStatus:
    return QuotaStatus(limit, balance.spent, balance.held, resets_at, scope, window)


def _tightest(meters: list[QuotaStatus]) -> QuotaStatus:
    return min(meters, key=lambda meter: meter.left)
