"""What the people who manage a server, and the operator, do there. The gate has let them in; here is what they may do it to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiosqlite import Connection

from bot.clock import Clock
from bot.config import BotSettings
from bot.errors import Refusal, RefusalCode
from bot.services.jobs import Jobs, JobView
from bot.services.moderation import Moderation, TakenDown
from bot.services.notices import NoticeKind, Notices
from bot.services.plans import Holding, Plan, Plans, PlanSource
from bot.services.quotas import WINDOW_S, Quotas, UsageDay, fill_days, window_of
from bot.services.values import Actor
from bot.storage import blocks, ledger, usage
from bot.storage import jobs as jobs_table
from bot.storage.blocks import EVERYWHERE, Block
from bot.storage.database import Database
from bot.storage.jobs import JobRecord
from bot.storage.notices import Fact
from bot.storage.usage import JobCount
from engine.contracts.jobs import TrainLora

MAX_REASON_CHARS = 200
MAX_GRANT_DAYS = 3660
LISTED_PEOPLE = 5
CHOICES = 25
LOOKED_AT = 200
"""Latest jobs an autocomplete searches."""


@dataclass(frozen=True)
class UsageReport:
    """A server's last days."""

    days: tuple[UsageDay, ...]
    jobs: tuple[JobCount, ...]
    people: int
    top: tuple[tuple[int, int], ...]  # (user id, units), most first

    @property
    def spent(self) -> int:
        """Units of all days."""
        return sum(day.spent for day in self.days)


@dataclass(frozen=True)
class Administration:
    """Jobs of other servers are as unknown here as jobs that never were, except to the operator."""

    settings: BotSettings
    database: Database
    clock: Clock
    jobs: Jobs
    quotas: Quotas
    plans: Plans
    notices: Notices
    moderation: Moderation

    async def usage(self, guild_id: int, days: int) -> UsageReport:
        """What a server used in the last `days` days, today included."""
        db, today = self.database.reader, window_of(self.clock())
        since = today - (days - 1) * WINDOW_S
        people = await ledger.people_of_server(db, guild_id, since)
        return UsageReport(
            days=tuple(fill_days(await ledger.days_of_server(db, guild_id, since), today, days)),
            jobs=tuple(await usage.job_counts(db, guild_id, since)),
            people=len(people),
            top=tuple((user_id, spent) for user_id, spent in people[:LISTED_PEOPLE] if spent),
        )

    async def block(self, actor: Actor, user_id: int, reason: str, *, everywhere: bool) -> None:
        """Keep somebody from using the bot in the actor's server, or (operator only) anywhere.

        Raises:
            Refusal: BLOCK_REFUSED for oneself and for operators, NOT_OPERATOR, REASON_TOO_LONG.
        """
        guild_id = self._scope(actor, everywhere=everywhere)
        if user_id == actor.user_id or user_id in self.settings.operator_ids:
            raise Refusal(RefusalCode.BLOCK_REFUSED)
        if len(reason) > MAX_REASON_CHARS:
            raise Refusal(RefusalCode.REASON_TOO_LONG, length=len(reason), limit=MAX_REASON_CHARS)
        async with self.database.transaction() as tx:
            await blocks.put(tx, Block(guild_id, user_id, reason, actor.user_id, self.clock()))
            await self._log(tx, actor, "block", user=user_id, reason=reason)

    async def unblock(self, actor: Actor, user_id: int, *, everywhere: bool) -> None:
        """Let them use it again.

        Raises:
            Refusal: NOT_BLOCKED, NOT_OPERATOR.
        """
        guild_id = self._scope(actor, everywhere=everywhere)
        async with self.database.transaction() as tx:
            if not await blocks.remove(tx, guild_id, user_id):
                raise Refusal(RefusalCode.NOT_BLOCKED)
            await self._log(tx, actor, "unblock", user=user_id)

    async def refund(self, actor: Actor, job_id: str) -> tuple[JobRecord, int]:
        """Give back what a job was charged; the job and the units.

        Raises:
            Refusal: JOB_UNKNOWN, NOTHING_TO_REFUND while it runs, when it cost nothing, and the second time.
        """
        record = await self._job(actor, job_id)
        async with self.database.transaction() as tx:
            units = await self.quotas.credit(tx, record.job_id)
            if units == 0:
                raise Refusal(RefusalCode.NOTHING_TO_REFUND, open=not record.status.terminal)
            await jobs_table.note_credited(tx, record.job_id)
            await self._log(tx, actor, "refund", user=record.owner_id, job=record.job_id, units=units)
        return record, units

    async def cancel(self, actor: Actor, job_id: str) -> JobView:
        """Stop somebody's job.

        Raises:
            Refusal: JOB_UNKNOWN, JOB_OVER.
        """
        record = await self._job(actor, job_id)
        view = await self.jobs.cancel(record.job_id, self._there(actor, record))
        await self._log_alone(actor, "cancel", user=record.owner_id, job=record.job_id)
        return view

    async def take_down(self, actor: Actor, job_id: str, reason: str) -> TakenDown:
        """Take down what a job made, with every identical copy; the caller deletes the messages.

        Raises:
            Refusal: JOB_UNKNOWN, REASON_TOO_LONG, STORE_UNAVAILABLE.
        """
        if len(reason) > MAX_REASON_CHARS:
            raise Refusal(RefusalCode.REASON_TOO_LONG, length=len(reason), limit=MAX_REASON_CHARS)
        record = await self._job(actor, job_id)
        done = await self.moderation.take_down(record, actor, reason)
        await self._log_alone(actor, "takedown", user=record.owner_id, job=record.job_id, reason=reason)
        return done

    async def grant(self, actor: Actor, plan: Plan, *, user_id: int | None, days: int | None) -> Holding | None:
        """Give a plan to a person, or (`user_id` None) to the actor's server; `Plan.FREE` takes an earlier grant back.

        Returns:
            What they hold now; None after taking it back.

        Raises:
            Refusal: SETTING_OUT_OF_RANGE for the days, NOT_GRANTED when there is nothing to take back.
        """
        now = self.clock()
        if days is not None and not 1 <= days <= MAX_GRANT_DAYS:
            raise Refusal(RefusalCode.SETTING_OUT_OF_RANGE, name="days", value=days, minimum=1, maximum=MAX_GRANT_DAYS)
        guild_id = actor.guild_id if user_id is None else None
        reference = f"user:{user_id}" if user_id is not None else f"guild:{guild_id}"
        if plan is Plan.FREE:
            if not await self.plans.ended(PlanSource.OPERATOR, reference):
                raise Refusal(RefusalCode.NOT_GRANTED)
            holding = None
        else:
            ends_at = None if days is None else now + days * WINDOW_S
            holding = Holding(PlanSource.OPERATOR, reference, plan, user_id, guild_id, now, ends_at)
            await self.plans.hold(holding)
        await self._log_alone(actor, "grant", user=user_id, plan=plan, days=days)
        if user_id is not None and holding is not None:
            async with self.database.transaction() as tx:
                await self.notices.tell(tx, user_id, NoticeKind.PLAN_BEGAN, plan=plan, ends_at=holding.ends_at)
        return holding

    async def settings_changed(self, actor: Actor, what: str) -> None:
        """Write down that somebody changed the settings."""
        await self._log_alone(actor, "settings", what=what)

    async def choices(self, actor: Actor, text: str, *, running: bool) -> Sequence[JobRecord]:
        """Jobs of the actor's server whose id, owner or prompt has `text` in it: open ones, or ended ones; newest first."""
        if actor.guild_id is None:
            return ()
        look = usage.open_in if running else usage.ended_in
        wanted = text.strip().casefold()
        found = await look(self.database.reader, actor.guild_id, LOOKED_AT if wanted else CHOICES)
        return [record for record in found if wanted in _searchable(record)][:CHOICES]

    async def _job(self, actor: Actor, job_id: str) -> JobRecord:
        record = await jobs_table.get(self.database.reader, job_id.strip())
        operator = actor.user_id in self.settings.operator_ids
        if record is None or not (operator or (record.guild_id is not None and record.guild_id == actor.guild_id)):
            raise Refusal(RefusalCode.JOB_UNKNOWN)
        return record

    def _there(self, actor: Actor, record: JobRecord) -> Actor:
        """The actor as an admin of the server of a job they were let at."""
        return Actor(actor.user_id, record.guild_id, actor.display_name, actor.role_ids, is_admin=True)

    def _scope(self, actor: Actor, *, everywhere: bool) -> int:
        if everywhere and actor.user_id not in self.settings.operator_ids:
            raise Refusal(RefusalCode.NOT_OPERATOR)
        if everywhere:
            return EVERYWHERE
        if actor.guild_id is None:
            raise Refusal(RefusalCode.NOT_IN_GUILD)
        return actor.guild_id

    async def _log_alone(self, actor: Actor, action: str, **facts: Fact) -> None:
        async with self.database.transaction() as tx:
            await self._log(tx, actor, action, **facts)

    async def _log(self, tx: Connection, actor: Actor, action: str, **facts: Fact) -> None:
        if actor.guild_id is not None:
            said = {"action": action, "by": actor.user_id, **facts}
            await self.notices.log(tx, actor.guild_id, NoticeKind.ADMIN_ACTED, said)


def _searchable(record: JobRecord) -> str:
    """What somebody may type to find a job: what its choice shows."""
    what = f"training {record.job.name}" if isinstance(record.job, TrainLora) else record.job.prompt
    return f"{record.job_id} {record.owner_name} {what}".casefold()
