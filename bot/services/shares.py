"""Pages on the web for single clips: opened by their owner, closed again by them or by whatever takes the clip away."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from bot.clock import Clock
from bot.errors import Refusal, RefusalCode
from bot.services.jobs import Jobs
from bot.services.takedowns import Takedowns
from bot.services.values import Actor
from bot.storage import jobs as jobs_table
from bot.storage import loras as loras_table
from bot.storage import shares as table
from bot.storage.database import Database
from bot.storage.jobs import JobRecord
from bot.storage.loras import Visibility
from engine.contracts.jobs import GenerateVideo
from engine.contracts.results import VideoRendered

ID_BYTES = 16


@dataclass(frozen=True)
class Ingredient:
    """A LoRA of a shared clip; name and maker are None for one its owner keeps private."""

    name: str | None
    maker: str | None
    weight: float


@dataclass(frozen=True)
class SharedClip:
    """What the page of a clip shows."""

    share_id: str
    record: JobRecord
    job: GenerateVideo
    result: VideoRendered
    ingredients: tuple[Ingredient, ...]


@dataclass(frozen=True)
class Shares:
    """Whoever has the address of a page sees the clip; addresses cannot be guessed (128 bits) and are listed nowhere."""

    database: Database
    jobs: Jobs
    takedowns: Takedowns
    clock: Clock
    public_url: str

    async def share(self, job_id: str, actor: Actor) -> str:
        """The address of the page of a clip of `actor`.

        Raises:
            Refusal: JOB_UNKNOWN, NOT_OWNER, NOT_SHAREABLE: it is no clip, or was deleted or withheld.
        """
        record = await self._owned(job_id, actor)
        if not isinstance(record.result, VideoRendered) or record.deleted or record.withheld is not None:
            raise Refusal(RefusalCode.NOT_SHAREABLE)
        async with self.database.transaction() as tx:
            share_id = await table.put(tx, secrets.token_urlsafe(ID_BYTES), job_id, self.clock())
        return self.address(share_id)

    async def unshare(self, job_id: str, actor: Actor) -> None:
        """Close the page; closing a closed one changes nothing.

        Raises:
            Refusal: JOB_UNKNOWN, NOT_OWNER.
        """
        await self._owned(job_id, actor)
        async with self.database.transaction() as tx:
            await table.delete(tx, job_id)

    def address(self, share_id: str) -> str:
        """Where the page is."""
        return f"{self.public_url.rstrip('/')}/s/{share_id}"

    async def open(self, share_id: str) -> SharedClip | None:
        """The clip behind an address; None when it was never shared, or may not be seen any more."""
        job_id = await table.job_of(self.database.reader, share_id)
        record = await jobs_table.get(self.database.reader, job_id) if job_id is not None else None
        if record is None or record.deleted or record.withheld is not None:
            return None
        job, result = record.job, record.result
        if not isinstance(job, GenerateVideo) or not isinstance(result, VideoRendered) or not await self.takedowns.allows(result.file):
            return None
        loras = await loras_table.get_many(self.database.reader, [use.lora_id for use in job.adapters])
        if any(lora.withheld is not None for lora in loras.values()):
            return None
        shown = []
        for use in job.adapters:
            lora = loras.get(use.lora_id)
            hidden = lora is None or lora.visibility is Visibility.PRIVATE
            shown.append(Ingredient(None if hidden else use.name, None if hidden or lora is None else lora.owner_name, use.weight))
        return SharedClip(share_id, record, job, result, tuple(shown))

    async def _owned(self, job_id: str, actor: Actor) -> JobRecord:
        record = (await self.jobs.get(job_id)).record
        if record.owner_id != actor.user_id:
            raise Refusal(RefusalCode.NOT_OWNER)
        return record
