"""What happens to LoRAs when a plan ends: frozen at once, kept for a while, then deleted; thawed as soon as a plan covers them again."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from aiosqlite import Connection

from bot.clock import Clock
from bot.config import BotSettings
from bot.errors import Refusal, RefusalCode
from bot.services.notices import NoticeKind, Notices
from bot.services.plans import Feature, Plan, Plans, terms_of
from bot.services.values import Actor
from bot.storage import freezing as table
from bot.storage.database import Database
from bot.storage.freezing import Touched

logger = logging.getLogger(__name__)

WARNING_S = 7 * 24 * 3600.0
"""How long before its deletion the owner of a frozen LoRA is told again."""
NAMED = 5
"""LoRAs a notice names; the rest is a number."""


@dataclass(frozen=True)
class Storage:
    """LoRA files of one person."""

    used: int  # bytes
    limit: int  # bytes
    frozen: int  # LoRAs
    delete_at: float | None  # unix seconds: when the first of them is deleted


@dataclass(frozen=True)
class Freezing:
    """`sweep` is called now and then, because plans also end by themselves; `apply` follows every change of a plan in its transaction."""

    settings: BotSettings
    database: Database
    plans: Plans
    notices: Notices
    clock: Clock

    async def sweep(self) -> int:
        """Freeze, thaw, warn and expire, each with a notice to the owner; how many LoRAs were deleted."""
        async with self.database.transaction() as tx:
            return await self.apply(tx)

    async def apply(self, tx: Connection) -> int:
        """The same inside the caller's transaction."""
        now, keep_s = self.clock(), self.settings.frozen_expires_s
        covered = terms_of(Plan(self.settings.plan_without_purchase), self.settings).has(Feature.TRAINING)
        thawed = await table.thaw_all(tx) if covered else await table.thaw(tx, now)
        frozen = [] if covered else await table.freeze(tx, now)
        expired = await table.expire(tx, now - keep_s)  # first: nobody is warned of what has happened by now
        warned = await table.warn(tx, now - keep_s + min(WARNING_S, keep_s / 2))
        for kind, touched in (
            (NoticeKind.LORAS_THAWED, thawed),
            (NoticeKind.PLAN_ENDED, frozen),
            (NoticeKind.LORAS_EXPIRING, warned),
            (NoticeKind.LORAS_DELETED, expired),
        ):
            for one in touched:
                delete_at = one.since + keep_s if kind in (NoticeKind.PLAN_ENDED, NoticeKind.LORAS_EXPIRING) else None
                await self.notices.tell(tx, one.owner_id, kind, loras=len(one.names), names=_names(one), delete_at=delete_at)
        deleted = sum(len(one.names) for one in expired)
        if deleted:
            logger.info("%d LoRAs were deleted because no plan has covered them for %.0f days", deleted, keep_s / 86400)
        return deleted

    async def storage(self, actor: Actor) -> Storage:
        """What the LoRA files of `actor` take, and what their plan grants."""
        standing = await self.plans.standing(actor.guild_id, actor.user_id)
        used = await table.stored_bytes(self.database.reader, actor.user_id)
        frozen, since = await table.frozen_of(self.database.reader, actor.user_id)
        delete_at = None if since is None else since + self.settings.frozen_expires_s
        return Storage(used, standing.terms.storage_bytes, frozen, delete_at)

    async def require_room(self, actor: Actor) -> None:
        """Return when `actor` may keep one LoRA more.

        Raises:
            Refusal: PLAN_NEEDED, STORAGE_FULL.
        """
        standing = await self.plans.require(Feature.TRAINING, actor.guild_id, actor.user_id)
        used = await table.stored_bytes(self.database.reader, actor.user_id)
        if used >= standing.terms.storage_bytes:
            raise Refusal(RefusalCode.STORAGE_FULL, used=used, limit=standing.terms.storage_bytes)


def _names(touched: Touched) -> str:
    return ", ".join(touched.names[:NAMED])
