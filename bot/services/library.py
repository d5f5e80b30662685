"""The LoRA library: pages, one LoRA in detail, and what its owner does with it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from bot.clock import Clock
from bot.errors import Refusal, RefusalCode
from bot.services.files import Files
from bot.services.loras import Lora, Loras, parse_name, refuse_taken
from bot.services.values import Actor
from bot.storage import library as table
from bot.storage import loras as loras_table
from bot.storage.database import Database
from bot.storage.library import Filters, Scope, Version
from bot.storage.loras import LoraState, Visibility
from engine.errors import StoreError
from engine.store import ObjectStore

__all__ = ["Deletion", "Details", "Filters", "Library", "Page", "Scope", "Version"]

logger = logging.getLogger(__name__)

PAGE_SIZE = 6
LOOKED_AHEAD = 10 * PAGE_SIZE
"""LoRAs after a page that are looked for, so that near the end its length is known."""
MAX_EXAMPLES = 3
MAX_EXAMPLE_CHARS = 200


@dataclass(frozen=True)
class Page:
    """Some LoRAs of a shelf. `number` counts from 1 and is the last page when a later one was asked for."""

    loras: tuple[Lora, ...]
    number: int
    found: int  # LoRAs on the shelf, as far as was looked
    whole: bool  # that is all of them
    filters: Filters

    @property
    def pages(self) -> int:
        """Pages of what was found."""
        return max(1, -(-self.found // PAGE_SIZE))


@dataclass(frozen=True)
class Details:
    """One LoRA as its card shows it."""

    lora: Lora
    versions: tuple[Version, ...]  # newest first
    mine: bool


@dataclass(frozen=True)
class Deletion:
    """What a delete did; jobs that load the file keep it until they end."""

    lora: Lora
    still_used_by: int


@dataclass(frozen=True)
class Library:
    """Every method that names a LoRA refuses LORA_UNKNOWN or LORA_GONE alike for one that is not there and one the asker may not see."""

    database: Database
    store: ObjectStore
    loras: Loras
    files: Files
    clock: Clock

    async def page(self, actor: Actor, filters: Filters, number: int) -> Page:
        """One page of a shelf, newest first."""
        number = max(1, number)
        ids = await self._ids(actor, filters, number)
        if not ids and number > 1:  # what was on it has gone, or was never there
            length = await table.shelf_length(self.database.reader, actor.user_id, actor.guild_id, filters)
            number = max(1, -(-length // PAGE_SIZE))
            ids = await self._ids(actor, filters, number) if length else []
        records = await loras_table.get_many(self.database.reader, ids[:PAGE_SIZE])
        shown = tuple(records[lora_id] for lora_id in ids[:PAGE_SIZE] if lora_id in records)
        window = PAGE_SIZE + LOOKED_AHEAD
        return Page(shown, number, (number - 1) * PAGE_SIZE + min(len(ids), window), len(ids) <= window, filters)

    async def _ids(self, actor: Actor, filters: Filters, number: int) -> list[str]:
        """Ids of a page, of what is looked for after it, and one more that tells whether that was all."""
        offset, limit = (number - 1) * PAGE_SIZE, PAGE_SIZE + LOOKED_AHEAD + 1
        return await table.shelf(self.database.reader, actor.user_id, actor.guild_id, filters, offset, limit)

    async def show(self, lora_id: str, actor: Actor) -> Details:
        """One LoRA in detail."""
        return await self._details(await self.loras.get(lora_id, actor), actor)

    async def show_named(self, name: str, actor: Actor) -> Details:
        """The same, by name."""
        return await self._details(await self.loras.named(name, actor), actor)

    async def _details(self, lora: Lora, actor: Actor) -> Details:
        versions = tuple(await table.versions(self.database.reader, lora.lora_id))
        return Details(lora, versions, mine=lora.owner_id == actor.user_id)

    async def edit(self, lora_id: str, actor: Actor, *, name: str, visibility: Visibility, examples: Sequence[str]) -> Lora:
        """Change name, visibility and example prompts.

        Raises:
            Refusal: NOT_OWNER, LORA_BUSY, NAME_INVALID, NAME_TAKEN, VISIBILITY_NEEDS_GUILD, EXAMPLES_TOO_LONG.
        """
        parsed = parse_name(name)
        prompts = [line.strip() for line in examples if line.strip()]
        longest = max(map(len, prompts), default=0)
        if len(prompts) > MAX_EXAMPLES or longest > MAX_EXAMPLE_CHARS:
            raise Refusal(
                RefusalCode.EXAMPLES_TOO_LONG, count=len(prompts), limit=MAX_EXAMPLES, length=longest, max_length=MAX_EXAMPLE_CHARS
            )
        lora = await self.owned(lora_id, actor)
        if visibility is Visibility.SERVER and lora.guild_id is None:
            raise Refusal(RefusalCode.VISIBILITY_NEEDS_GUILD)
        owner_there = Actor(actor.user_id, lora.guild_id, actor.display_name)
        async with self.database.transaction() as tx:
            await refuse_taken(tx, owner_there, parsed, visibility, lora_id=lora_id)
            await table.edit(tx, lora_id, name=parsed, visibility=visibility, examples=prompts)
        return await self.owned(lora_id, actor)

    async def delete(self, lora_id: str, actor: Actor) -> Deletion:
        """Offer it to nobody any more, at once; its files go as soon as no open job loads them.

        Raises:
            Refusal: NOT_OWNER, LORA_BUSY.
        """
        lora = await self.owned(lora_id, actor)
        async with self.database.transaction() as tx:
            if not await table.mark_gone(tx, lora_id):
                raise Refusal(RefusalCode.LORA_GONE)
            jobs = await table.open_jobs_using(tx, lora_id)
        await self.purge()
        return Deletion(lora, len(jobs))

    async def roll_back(self, lora_id: str, actor: Actor, version: int) -> Lora:
        """Use an earlier (or again a later) version in new jobs.

        Raises:
            Refusal: NOT_OWNER, LORA_BUSY, VERSION_UNKNOWN.
        """
        await self.owned(lora_id, actor)
        async with self.database.transaction() as tx:
            if not await table.use_version(tx, lora_id, version):
                raise Refusal(RefusalCode.VERSION_UNKNOWN)
        return await self.owned(lora_id, actor)

    async def download(self, lora_id: str, actor: Actor) -> tuple[Lora, str]:
        """The LoRA and a signed, expiring link to the file in use; for its owner, and for everybody when it is public.

        Raises:
            Refusal: NOT_OWNER, LORA_WITHHELD, LORA_NOT_READY.
        """
        lora = await self.loras.get(lora_id, actor)
        if lora.owner_id != actor.user_id and lora.visibility is not Visibility.PUBLIC:
            raise Refusal(RefusalCode.NOT_OWNER)
        if lora.withheld is not None:
            raise Refusal(RefusalCode.LORA_WITHHELD, name=lora.name, reason=lora.withheld)
        if lora.file is None:
            raise Refusal(RefusalCode.LORA_NOT_READY, name=lora.name)
        return lora, self.files.link(lora.file, f"{lora.name}-v{lora.version}.safetensors", actor.user_id)

    async def owned(self, lora_id: str, actor: Actor) -> Lora:
        """A LoRA that `actor` may change.

        Raises:
            Refusal: LORA_GONE, NOT_OWNER; LORA_BUSY before its first version is ready.
        """
        lora = await self.loras.get(lora_id, actor)
        if lora.owner_id != actor.user_id:
            raise Refusal(RefusalCode.NOT_OWNER)
        if lora.state is not LoraState.READY:
            raise Refusal(RefusalCode.LORA_BUSY, name=lora.name)
        return lora

    async def purge(self) -> int:
        """Delete the files of gone LoRAs that no open job loads; how many LoRAs. What the store does not delete now is tried again."""
        done = 0
        for lora_id in await table.to_purge(self.database.reader):
            with contextlib.suppress(StoreError):
                for version in await table.versions(self.database.reader, lora_id):
                    for obj in version.objects:
                        await self.store.delete(obj.key)
                for key in await self.store.list(f"loras/{lora_id}"):
                    await self.store.delete(key)
                async with self.database.transaction() as tx:
                    await table.mark_purged(tx, lora_id)
                done += 1
        if done:
            logger.info("files of %d deleted LoRAs were removed", done)
        return done
