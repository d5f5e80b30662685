"""Messages that belong to no job: to one person about their plan, to a server's log channel about what its admins did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from aiosqlite import Connection

from bot.clock import Clock
from bot.services.servers import Servers
from bot.storage import notices as table
from bot.storage.database import Database
from bot.storage.notices import Fact, NoticeRecord

Notice = NoticeRecord


class NoticeKind(StrEnum):
    """What a message says; the comment names its facts."""

    PLAN_BEGAN = "plan_began"  # plan, ends_at
    PLAN_ENDED = "plan_ended"  # loras: count, names, delete_at
    LORAS_THAWED = "loras_thawed"  # loras, names
    LORAS_EXPIRING = "loras_expiring"  # loras, names, delete_at
    LORAS_DELETED = "loras_deleted"  # loras, names
    ADMIN_ACTED = "admin_acted"  # action, by, and what the action names: user, job, plan, reason, units, …


@dataclass(frozen=True)
class Notices:
    """`tell` and `log` inside the caller's transaction; the rest is for the task that sends."""

    database: Database
    servers: Servers
    clock: Clock

    async def tell(self, tx: Connection, user_id: int, kind: NoticeKind, **facts: Fact) -> None:
        """Write to a person."""
        await table.insert(tx, kind, facts, self.clock(), user_id=user_id)

    async def log(self, tx: Connection, guild_id: int, kind: NoticeKind, facts: Mapping[str, Fact]) -> None:
        """Write to the server's log channel, if it has one."""
        channel_id = (await self.servers.get(guild_id)).log_channel_id
        if channel_id is not None:
            await table.insert(tx, kind, facts, self.clock(), channel_id=channel_id, guild_id=guild_id)

    async def due(self, limit: int = 10) -> list[Notice]:
        """What should be sent now, oldest first."""
        return await table.due(self.database.reader, self.clock(), limit)

    async def server_of(self, notice: Notice) -> int | None:
        """Whose language it is written in: of a message to a person, the server they last made something in."""
        if notice.user_id is None:
            return notice.guild_id
        return await table.last_server(self.database.reader, notice.user_id)

    async def sent(self, notice: Notice) -> None:
        """It is in Discord."""
        async with self.database.transaction() as tx:
            await table.close(tx, notice.notice_id, "sent")

    async def undeliverable(self, notice: Notice) -> None:
        """Nobody takes it; what it says is also in `/quota`."""
        async with self.database.transaction() as tx:
            await table.close(tx, notice.notice_id, "undeliverable")

    async def later(self, notice: Notice, delay_s: float) -> None:
        """Try again."""
        async with self.database.transaction() as tx:
            await table.postpone(tx, notice.notice_id, self.clock() + delay_s)
