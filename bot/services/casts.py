"""Stacks saved under a name: `loras:@pilot-cast` stands for all of them with their weights."""

from __future__ import annotations

from dataclasses import dataclass

from ulid import ULID

from bot.clock import Clock
from bot.errors import Refusal, RefusalCode
from bot.services.loras import CAST_MARK, Lora, Loras, parse_name, parse_stack, sees
from bot.services.values import Actor
from bot.storage import casts as table
from bot.storage import loras as loras_table
from bot.storage.casts import CastRecord
from bot.storage.database import Database

MAX_CASTS = 25  # of one person


@dataclass(frozen=True)
class Cast:
    """A saved stack as one person sees it: members they may not see are not in it."""

    name: str
    mine: bool
    members: tuple[tuple[Lora, float], ...]


@dataclass(frozen=True)
class Casts:
    """A stack belongs to who saved it; everybody in the server it was saved in can call it."""

    database: Database
    loras: Loras
    clock: Clock
    base: str

    async def save(self, name: str, stack: str, actor: Actor) -> Cast:
        """Save a stack as typed; one of the same name is replaced.

        Raises:
            Refusal: NAME_INVALID, those of `parse_stack` and `Loras.resolve`, CAST_EMPTY, CASTS_FULL.
        """
        parsed = parse_name(name.strip().removeprefix(CAST_MARK))
        uses = await self.loras.resolve(parse_stack(stack), actor, self.base)
        if not uses:
            raise Refusal(RefusalCode.CAST_EMPTY, name=CAST_MARK + parsed)
        members = tuple((use.lora_id, use.weight) for use in uses)
        async with self.database.transaction() as tx:
            await table.put(tx, CastRecord(str(ULID()), actor.user_id, actor.guild_id, parsed, members), self.clock())
            if len(await table.of_owner(tx, actor.user_id)) > MAX_CASTS:
                raise Refusal(RefusalCode.CASTS_FULL, limit=MAX_CASTS)
        return (await self._seen(actor, [await self._named(parsed, actor)]))[0]

    async def listed(self, actor: Actor) -> list[Cast]:
        """Stacks `actor` can call here, their own first."""
        return await self._seen(actor, await table.visible(self.database.reader, actor.user_id, actor.guild_id, MAX_CASTS))

    async def delete(self, name: str, actor: Actor) -> None:
        """Forget a stack of `actor`.

        Raises:
            Refusal: CAST_UNKNOWN, also for one of somebody else.
        """
        parsed = name.strip().lower().removeprefix(CAST_MARK)
        async with self.database.transaction() as tx:
            if not await table.delete(tx, parsed, actor.user_id):
                raise Refusal(RefusalCode.CAST_UNKNOWN, name=CAST_MARK + parsed)

    async def _named(self, name: str, actor: Actor) -> CastRecord:
        record = await table.named(self.database.reader, name, actor.user_id, actor.guild_id)
        if record is None:
            raise Refusal(RefusalCode.CAST_UNKNOWN, name=CAST_MARK + name)
        return record

    async def _seen(self, actor: Actor, records: list[CastRecord]) -> list[Cast]:
        found = await loras_table.get_many(self.database.reader, [lora_id for record in records for lora_id, _ in record.members])
        visible = {lora_id: lora for lora_id, lora in found.items() if sees(actor, lora)}
        return [
            Cast(
                record.name,
                record.owner_id == actor.user_id,
                tuple((visible[lora_id], weight) for lora_id, weight in record.members if lora_id in visible),
            )
            for record in records
        ]
