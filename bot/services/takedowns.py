"""Content that was taken down: recognised by a keyed hash, so identical copies are stopped wherever they turn up."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from aiosqlite import Connection

from bot.clock import Clock
from bot.errors import Refusal, RefusalCode
from bot.storage import loras as loras_table
from bot.storage import takedowns as table
from bot.storage.database import Database
from bot.storage.loras import LoraState, Visibility
from engine.contracts.model import StoredObject


@dataclass(frozen=True)
class Takedowns:
    """The register. It holds HMACs of file hashes: enough to recognise a file, not enough to name whose it was."""

    database: Database
    secret: bytes
    clock: Clock

    async def add(self, tx: Connection, objects: Sequence[StoredObject], reason: str) -> None:
        """Never show these bytes again."""
        await table.put(tx, [self._fingerprint(obj.sha256) for obj in objects], reason, self.clock())

    async def blocked(self, hashes: Sequence[str]) -> set[str]:
        """Those of these SHA-256 hashes whose content was taken down."""
        if not hashes:
            return set()
        by_fingerprint = {self._fingerprint(sha256): sha256 for sha256 in hashes}
        return {by_fingerprint[found] for found in await table.known(self.database.reader, list(by_fingerprint))}

    async def refuse(self, hashes: Sequence[str]) -> None:
        """Return when none of this content was taken down.

        Raises:
            Refusal: TAKEN_DOWN.
        """
        if await self.blocked(hashes):
            raise Refusal(RefusalCode.TAKEN_DOWN)

    async def allows(self, obj: StoredObject, reader_id: int = 0) -> bool:
        """False for content that was taken down, and for a LoRA that nobody may use, or that is neither public nor `reader_id`'s own."""
        if await self.blocked([obj.sha256]):
            return False
        folder, _, rest = obj.key.partition("/")
        lora = await loras_table.get(self.database.reader, rest.partition("/")[0]) if folder == "loras" else None
        if lora is None:
            return True
        shown = lora.visibility is Visibility.PUBLIC or lora.owner_id == reader_id
        return shown and lora.withheld is None and lora.state is not LoraState.GONE

    def _fingerprint(self, sha256: str) -> str:
        return hmac.new(self.secret, b"takedown\0" + sha256.encode(), hashlib.sha256).hexdigest()
