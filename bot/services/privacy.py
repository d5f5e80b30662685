"""What is kept of a person: handed to them on request, forgotten on request, and kept no longer than it is needed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
import secrets
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ulid import ULID

from bot.clock import Clock
from bot.config import BotSettings
from bot.errors import Refusal, RefusalCode
from bot.queue import JobQueue
from bot.services.files import Files
from bot.services.jobs import Jobs
from bot.services.servers import Servers
from bot.services.values import Actor
from bot.storage import datasets as datasets_table
from bot.storage import library as library_table
from bot.storage import privacy as table
from bot.storage.database import Database
from bot.storage.privacy import Traces
from engine.contracts.model import StoredObject
from engine.contracts.objects import export_folder, extension_of
from engine.errors import StoreError
from engine.store import ObjectStore

logger = logging.getLogger(__name__)

ZIP = "application/zip"
DELETIONS_AT_ONCE = 8

_README = """What Callsheet keeps of you.

data.json   every row of its database that is about you, by table
files/      your uploads, LoRAs, clips and their pictures, in the folders they are stored in

Prompts, names and captions are in data.json. /privacy delete forgets all of it.
"""


@dataclass(frozen=True)
class Leaving:
    """A request to be forgotten was taken; `open_jobs` still have to stop first."""

    open_jobs: int


@dataclass(frozen=True)
class Privacy:
    """Erasing takes two steps, since a running job first has to let go: `request` at once, `finish` when nothing runs any more."""

    settings: BotSettings
    database: Database
    store: ObjectStore
    queue: JobQueue
    jobs: Jobs
    servers: Servers
    files: Files
    clock: Clock
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)

    # ---- export -----------------------------------------------------------------------------------------------------------------

    async def export(self, actor: Actor) -> tuple[str, int]:
        """Everything about `actor` as a zip: a link that expires, and its size in bytes.

        Raises:
            Refusal: STORE_UNAVAILABLE.
        """
        rows = await table.export(self.database.reader, actor.user_id)
        folder = self.settings.scratch_dir.absolute() / f"export-{secrets.token_hex(8)}"
        archive = folder / "export.zip"
        await asyncio.to_thread(folder.mkdir, parents=True)
        try:
            await asyncio.to_thread(_begin, archive, rows)
            for obj in _objects(rows):
                await self._add(archive, obj, folder)
            stored = await self.store.put_file(f"{self._exports_of(actor.user_id)}/{ULID()}.zip", archive, ZIP)
            return self.files.link(stored, "callsheet-export.zip", actor.user_id), stored.size
        except StoreError:
            raise Refusal(RefusalCode.STORE_UNAVAILABLE) from None
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _add(self, archive: Path, obj: StoredObject, folder: Path) -> None:
        path = folder / f"one.{extension_of(obj.media_type)}"
        try:
            await self.store.get_file(obj, path)
        except StoreError as error:  # expired or deleted: the rows still say what it was
            logger.info("not in an export: %s", error)
            return
        await asyncio.to_thread(_append, archive, path, f"files/{obj.key}")
        await asyncio.to_thread(path.unlink)

    def _exports_of(self, user_id: int) -> str:
        """A folder per person whose name tells nobody whose it is."""
        name = hmac.new(self.files.signer.secret, f"export\0{user_id}".encode(), hashlib.sha256).hexdigest()[:32]
        return export_folder(name)

    # ---- being forgotten ------------------------------------------------------------------------------------------------------------

    async def request(self, actor: Actor) -> Leaving:
        """Forget `actor`: from now on they can start nothing, their LoRAs load nowhere, and their jobs stop."""
        async with self.database.transaction() as tx:
            await table.request(tx, actor.user_id, self.clock())
            for lora_id in (await table.traces(tx, actor.user_id)).lora_ids:
                await library_table.mark_gone(tx, lora_id)
        left = await self._stop_jobs(actor.user_id)
        self._wanted.set()
        return Leaving(left)

    async def leaving(self) -> list[int]:
        """People whose jobs have all ended, so that `finish` may come."""
        pending = await table.pending(self.database.reader)
        return [user_id for user_id in pending if not await self._stop_jobs(user_id)]

    async def _stop_jobs(self, user_id: int) -> int:
        await self.jobs.stop_all(await table.open_jobs(self.database.reader, user_id))
        return len(await table.open_jobs(self.database.reader, user_id))

    async def messages(self, user_id: int) -> tuple[tuple[int, int], ...]:
        """(channel, message) of everything we posted for a person; to be deleted before `finish`."""
        return (await table.traces(self.database.reader, user_id)).messages

    async def finish(self, user_id: int) -> None:
        """Remove files, queue entries, copies on workers, rows; when it is over, nothing of a person is left but anonymous ledger entries.

        Raises:
            StoreError, QueueUnavailableError: try again later; the request is kept.
        """
        found = await table.traces(self.database.reader, user_id)
        await self._delete_files(user_id, found)
        await self.queue.erase(found.job_ids)
        await self.queue.drop_caches()
        await table.forget(self.database, user_id, found)
        await asyncio.to_thread(shutil.rmtree, self.settings.scratch_dir / "downloads", ignore_errors=True)
        logger.info("a person was forgotten: %d jobs, %d LoRAs", len(found.job_ids), len(found.lora_ids))

    async def _delete_files(self, user_id: int, found: Traces) -> None:
        folders = [f"uploads/{user_id}", self._exports_of(user_id)]
        folders += [f"{kind}/{job_id}" for job_id in found.job_ids for kind in ("jobs", "checkpoints", "features")]
        folders += [f"loras/{lora_id}" for lora_id in found.lora_ids]
        gate = asyncio.Semaphore(DELETIONS_AT_ONCE)

        async def clear(folder: str) -> None:
            async with gate:
                for key in await self.store.list(folder):
                    await self.store.delete(key)

        await asyncio.gather(*map(clear, folders))

    async def wait(self, timeout_s: float) -> None:
        """Return when somebody asked to be forgotten, or after `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wanted.wait()
        self._wanted.clear()

    # ---- what is kept no longer than needed -------------------------------------------------------------------------------------------

    async def expire(self) -> int:
        """Delete uploads of trainings that ended long ago, start pictures of old clips, and old exports; how many files."""
        before = self.clock() - self.settings.upload_retention_s
        gone = 0
        with contextlib.suppress(StoreError):
            for dataset_id in await datasets_table.expired(self.database.reader, before):
                items = await datasets_table.items(self.database.reader, dataset_id)
                async with self.database.transaction() as tx:
                    await datasets_table.forget_items(tx, dataset_id)
                free = await datasets_table.unreferenced(self.database.reader, [item.media for item in items])
                for key in free:
                    await self.store.delete(key)
                gone += len(free)
            for key in await self.store.list("exports"):
                if ULID.from_str(Path(key).stem).timestamp < self.clock() - self.settings.link_expires_s:
                    await self.store.delete(key)
                    gone += 1
        return gone

    async def forget_guild(self, guild_id: int) -> None:
        """The bot was removed from a server: what waits for it stops, and its LoRAs are left to their owners alone."""
        await self.jobs.stop_all(await table.open_jobs_of_guild(self.database.reader, guild_id))
        async with self.database.transaction() as tx:
            await table.forget_guild(tx, guild_id)
        self.servers.forget(guild_id)


def _objects(rows: dict[str, list[dict[str, Any]]]) -> Iterator[StoredObject]:
    """Every stored file the rows mention, each key once."""
    seen: set[str] = set()
    pending: list[Any] = [rows]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            try:
                obj = StoredObject.model_validate(value)
            except ValidationError:
                pending += value.values()
                continue
            if obj.key not in seen:
                seen.add(obj.key)
                yield obj
        elif isinstance(value, list):
            pending += value


def _begin(archive: Path, rows: dict[str, list[dict[str, Any]]]) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("README.txt", _README)
        target.writestr("data.json", json.dumps(rows, indent=2, ensure_ascii=False))


def _append(archive: Path, path: Path, name: str) -> None:
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_STORED) as target:
        target.write(path, name)
