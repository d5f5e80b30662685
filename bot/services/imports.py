"""LoRAs made elsewhere: a file, or a link of our own, checked to the last weight in a subprocess and kept the way we keep ours."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from aiosqlite import Connection
from ulid import ULID

from bot import media
from bot.clock import Clock
from bot.config import BotSettings
from bot.errors import Refusal, RefusalCode
from bot.services.files import Files
from bot.services.loras import Lora, first_visibility, parse_name, parse_trigger, refuse_taken
from bot.services.takedowns import Takedowns
from bot.services.values import Actor, IncomingFile
from bot.storage import library as table
from bot.storage import loras as loras_table
from bot.storage.database import Database
from bot.storage.library import Version
from bot.storage.loras import LoraState
from engine.contracts.lora import LoraKind, LoraManifest
from engine.contracts.lora_facts import LoraFacts, LoraProblem
from engine.contracts.objects import lora_key
from engine.errors import ObjectMissingError, StoreError
from engine.store import ObjectStore

MEDIA_TYPE = "application/x-safetensors"


@dataclass(frozen=True)
class Imported:
    """A file that became a LoRA."""

    lora: Lora
    facts: LoraFacts


@dataclass(frozen=True)
class Imports:
    """Nothing is fetched from anywhere: a link is only taken when we signed it, and then read from our own store."""

    settings: BotSettings
    database: Database
    store: ObjectStore
    files: Files
    takedowns: Takedowns
    clock: Clock

    async def from_file(self, file: IncomingFile, actor: Actor, *, name: str, kind: LoraKind, trigger: str | None) -> Imported:
        """Take a file that was attached.

        Raises:
            Refusal: NAME_INVALID, NAME_TAKEN, TRIGGER_INVALID, LORA_FILE, LORA_WITHHELD, TAKEN_DOWN, MEDIA_CHECK_FAILED, STORE_UNAVAILABLE.
        """
        return await self._take(file, actor, name, kind, trigger)

    async def from_link(self, link: str, actor: Actor, *, name: str, kind: LoraKind, trigger: str | None) -> Imported:
        """Take the file behind one of our download links.

        Raises:
            Refusal: LINK_NOT_OURS, LINK_EXPIRED, and those of `from_file`.
        """
        async with self._linked(link) as file:
            return await self._take(file, actor, name, kind, trigger)

    @asynccontextmanager
    async def _linked(self, link: str) -> AsyncIterator[IncomingFile]:
        signer = self.files.signer
        parts = urlsplit(link.strip())
        ours = urlsplit(signer.public_url)
        path = parts.path.removeprefix(ours.path.rstrip("/")).split("/")
        if (parts.scheme, parts.netloc) != (ours.scheme, ours.netloc) or len(path) != 4 or path[:2] != ["", "d"]:
            raise Refusal(RefusalCode.LINK_NOT_OURS)
        filename = unquote(path[3])
        download = signer.open(path[2], filename)
        if download is None or download.obj.media_type != MEDIA_TYPE:
            raise Refusal(RefusalCode.LINK_NOT_OURS)
        if signer.expired(download) or not await self.takedowns.allows(download.obj, download.reader_id):
            raise Refusal(RefusalCode.LINK_EXPIRED)
        try:
            local = await self.files.fetch(download.obj)
        except ObjectMissingError:
            raise Refusal(RefusalCode.LINK_EXPIRED) from None
        except StoreError:
            raise Refusal(RefusalCode.STORE_UNAVAILABLE) from None
        try:
            yield IncomingFile(filename, local, download.obj.size)
        finally:
            await asyncio.to_thread(local.unlink, missing_ok=True)

    async def _take(self, file: IncomingFile, actor: Actor, name: str, kind: LoraKind, trigger: str | None) -> Imported:
        parsed, word = parse_name(name), parse_trigger(trigger)
        visibility = first_visibility(actor)
        await refuse_taken(self.database.reader, actor, parsed, visibility)
        async with self._checked(file, parsed, kind, word) as (path, facts, manifest):
            lora_id = str(ULID())
            try:
                stored = await self.store.put_file(lora_key(lora_id, lora_id, 1), path, MEDIA_TYPE)
            except StoreError:
                raise Refusal(RefusalCode.STORE_UNAVAILABLE) from None
            try:
                # a copy is known by the file as we keep it, and by what it was made of
                await self.takedowns.refuse([stored.sha256, manifest.data_sha256])
                async with self.database.transaction() as tx:
                    await refuse_taken(tx, actor, parsed, visibility)
                    await _refuse_withheld(tx, manifest.data_sha256, parsed)
                    lora = Lora(
                        lora_id=lora_id,
                        owner_id=actor.user_id,
                        owner_name=actor.display_name,
                        guild_id=actor.guild_id,
                        name=parsed,
                        kind=kind,
                        trigger=word,
                        base=self.settings.base,
                        state=LoraState.TRAINING,
                        job_id=None,
                        file=None,
                        preview=None,
                        poster=None,
                        loss_curve=None,
                        manifest=None,
                        uses=0,
                        created_at=self.clock(),
                        visibility=visibility,
                    )
                    await loras_table.insert(tx, lora)
                    await table.add_version(tx, Version(lora_id, 0, None, stored, None, None, None, manifest, self.clock()))
                    ready = await loras_table.get(tx, lora_id)
            except BaseException:
                await asyncio.shield(self.store.delete(stored.key))
                raise
        assert ready is not None
        return Imported(ready, facts)

    @asynccontextmanager
    async def _checked(
        self, file: IncomingFile, name: str, kind: LoraKind, trigger: str | None
    ) -> AsyncIterator[tuple[Path, LoraFacts, LoraManifest]]:
        """The file as we keep LoRAs, until the end of the block."""
        out = self.settings.scratch_dir.absolute() / f"{secrets.token_hex(8)}.safetensors"
        await asyncio.to_thread(out.parent.mkdir, parents=True, exist_ok=True)
        try:
            try:
                answer = await media.import_lora(
                    file.path.absolute(),
                    out,
                    base=self.settings.base,
                    name=name,
                    kind=kind,
                    trigger=trigger,
                    filename=file.filename,
                    timeout_s=self.settings.media_check_timeout_s,
                )
            except media.MediaError as error:
                raise Refusal(RefusalCode.MEDIA_CHECK_FAILED) from error
            if answer.facts is None or answer.manifest is None:
                raise Refusal(RefusalCode.LORA_FILE, filename=file.filename, problem=answer.problem or LoraProblem.NOT_SAFETENSORS)
            yield out, answer.facts, answer.manifest
        finally:
            await asyncio.to_thread(out.unlink, missing_ok=True)


async def _refuse_withheld(tx: Connection, data_sha256: str, name: str) -> None:
    """Return unless a LoRA made of this data may not be used; a copy would be as good as it."""
    reason = await table.withheld_data(tx, data_sha256)
    if reason is not None:
        raise Refusal(RefusalCode.LORA_WITHHELD, name=name, reason=reason)
