"""The audit log: what was decided about rules, reports and likenesses, written with the decision."""

from __future__ import annotations

from dataclasses import dataclass

from aiosqlite import Connection

from bot.clock import Clock
from bot.services.values import Actor
from bot.storage import audit as table
from bot.storage.audit import AuditEntry
from bot.storage.database import Database

MAX_SUBJECT_CHARS = 200


@dataclass(frozen=True)
class Audit:
    """Admins read their server's entries, the operator all of them."""

    database: Database
    clock: Clock
    operators: frozenset[int]

    async def note(self, tx: Connection, actor: Actor, action: str, subject: str) -> None:
        """Write down what `actor` does, in the transaction that does it."""
        await table.insert(tx, AuditEntry(self.clock(), actor.user_id, actor.guild_id, action, subject[:MAX_SUBJECT_CHARS]))

    async def latest(self, actor: Actor, limit: int = 15) -> list[AuditEntry]:
        """What an admin of this server, or the operator, may read; newest first."""
        return await table.latest(self.database.reader, None if actor.user_id in self.operators else actor.guild_id, limit)
