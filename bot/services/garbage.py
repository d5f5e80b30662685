"""The store's clean-up: what no row refers to, and no open job works on, is deleted once it is old enough.

Tries that were killed leave uploads behind, crashed uploads leave pictures, deleted LoRAs their weights. Only keys under
`objects.PREFIXES` are looked at; whatever else lies in the bucket is not ours.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

from bot.clock import Clock
from bot.config import BotSettings
from bot.storage import references
from bot.storage.database import Database
from engine.contracts import objects
from engine.errors import StoreError
from engine.store import ObjectStore, StoredEntry

logger = logging.getLogger(__name__)

BATCH = 50


@dataclass(frozen=True)
class Swept:
    """What one round did."""

    seen: int = 0
    deleted: int = 0
    deleted_bytes: int = 0


@dataclass(frozen=True)
class Garbage:
    """`collect` is one round; `in_hand` tells of uploads that are stored and not yet inserted."""

    settings: BotSettings
    database: Database
    store: ObjectStore
    clock: Clock
    in_hand: Callable[[str], bool]

    async def collect(self) -> Swept:
        """Delete what nothing refers to. Rows are read after the listing: what is stored later is not in it, what is inserted is seen.

        Raises:
            StoreError: The store does not answer; what was deleted until then was rightly deleted.
        """
        began = self.clock()
        entries = [entry for prefix in objects.PREFIXES for entry in await self.store.entries(prefix)]
        keep_from = -math.inf if self.settings.clip_expires_s is None else began - self.settings.clip_expires_s
        async with self.database.snapshot() as db:
            kept = await references.referenced(db, keep_from)
            working = await references.open_job_ids(db)
        old = [entry for entry in entries if self._old(entry.modified_at)]
        unused = [entry for entry in old if entry.key not in kept and objects.job_of(entry.key) not in working]
        deleted: list[StoredEntry] = []
        for start in range(0, len(unused), BATCH):
            new = await references.of_new_jobs(self.database.reader, began)
            batch = unused[start : start + BATCH]
            deleted += [entry for entry in batch if entry.key not in new and await self._delete(entry)]
        swept = Swept(len(entries), len(deleted), sum(entry.size for entry in deleted))
        if swept.deleted:
            logger.info("%d files nothing refers to were deleted, %d bytes", swept.deleted, swept.deleted_bytes)
        return swept

    async def _delete(self, entry: StoredEntry) -> bool:
        """Delete an object unless somebody has stored the same content again in the meantime."""
        modified_at = await self.store.modified_at(entry.key)
        if modified_at is None or not self._old(modified_at) or self.in_hand(entry.key):
            return False
        await self.store.delete(entry.key)
        return True

    def _old(self, modified_at: float) -> bool:
        return modified_at < self.clock() - self.settings.garbage_grace_s


async def collected(garbage: Garbage) -> Swept | None:
    """One round, or None when the store does not answer: the next one will find the same."""
    try:
        return await garbage.collect()
    except StoreError as error:
        logger.warning("no clean-up: %s", error)
        return None
