"""The terms everybody agrees to before their first clip or training."""

from __future__ import annotations

from dataclasses import dataclass

from bot.clock import Clock
from bot.errors import Refusal, RefusalCode
from bot.services.values import Actor
from bot.storage import terms as table
from bot.storage.database import Database

VERSION = 1
"""Raised when the terms change in meaning; everybody is asked again then."""


@dataclass(frozen=True)
class Terms:
    """`required` False: the operator has people agree elsewhere."""

    database: Database
    clock: Clock
    required: bool

    async def require(self, actor: Actor) -> None:
        """Return when `actor` has agreed to the present terms.

        Raises:
            Refusal: TERMS_NEEDED.
        """
        if self.required and await table.version_of(self.database.reader, actor.user_id) < VERSION:
            raise Refusal(RefusalCode.TERMS_NEEDED)

    async def accept(self, actor: Actor) -> None:
        """`actor` agrees."""
        async with self.database.transaction() as tx:
            await table.accept(tx, actor.user_id, VERSION, self.clock())
