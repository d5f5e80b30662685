"""What may be seen where: adult content only in channels marked for it, content that was taken down nowhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bot.errors import Refusal, RefusalCode
from bot.scorer import ScorerError, UnjudgeableError
from bot.services.files import Files
from bot.services.quotas import Quotas
from bot.services.servers import ContentLevel, Servers
from bot.services.takedowns import Takedowns
from bot.services.values import Actor
from bot.storage import jobs as jobs_table
from bot.storage.database import Database
from bot.storage.jobs import JobRecord
from engine.contracts.media import ItemVerdict
from engine.contracts.model import StoredObject
from engine.contracts.results import LoraTrained
from engine.errors import StoreError

logger = logging.getLogger(__name__)

REMEMBERED = 256
"""Previews whose verdict is kept, so that a card edited every few seconds asks once."""


class Scores(Protocol):
    """What judges files; `bot.scorer.Scorer`."""

    async def score(self, paths: Sequence[Path]) -> list[float]:
        """One number from 0 to 1 per file; raises ScorerError."""


@dataclass(frozen=True)
class Screening:
    """`scorer` None: the operator has switched the classifier off. Nothing is shown unchecked while it is on."""

    database: Database
    files: Files
    takedowns: Takedowns
    servers: Servers
    quotas: Quotas
    scorer: Scores | None
    threshold: float
    _previews: dict[str, bool] = field(default_factory=dict)

    async def refuse_upload(self, verdicts: Sequence[ItemVerdict], actor: Actor) -> None:
        """Return when these accepted files may be used by `actor` where they are.

        Raises:
            Refusal: TAKEN_DOWN, UPLOAD_ADULT, MEDIA_CHECK_FAILED.
        """
        await self.takedowns.refuse([verdict.sha256 for verdict in verdicts if verdict.sha256 is not None])
        if self.scorer is None or await self._adults_only(actor.guild_id, marked=actor.adult_place):
            return
        local = [(verdict.filename, Path(verdict.path)) for verdict in verdicts if verdict.path is not None]
        try:
            scores = await self.scorer.score([path for _, path in local])
        except ScorerError as error:
            logger.error("uploads were not screened: %s", error)  # noqa: TRY400 - the cause is in the message
            raise Refusal(RefusalCode.MEDIA_CHECK_FAILED) from error
        for (filename, _), score in zip(local, scores, strict=True):
            if score >= self.threshold:
                raise Refusal(RefusalCode.UPLOAD_ADULT, filename=filename)

    async def release(self, record: JobRecord) -> JobRecord:
        """A finished job before its result is posted: the row, with `withheld` set when nobody may see it there.

        Raises:
            ScorerError, StoreError: it cannot be told now; try again, and show nothing until then.
        """
        shown = _shown(record)
        if record.withheld is not None or not shown:
            return record
        if await self.takedowns.blocked([obj.sha256 for obj in _all(record)]):
            return await self._withhold(record, "takedown")
        if self.scorer is None or await self._adults_only(record.guild_id, marked=record.adult_channel):
            return record
        try:
            adult = await self._adult(shown)
        except UnjudgeableError as error:
            return await self.give_up(record, error)
        except StoreError as error:
            if error.code.retryable:
                raise
            return await self.give_up(record, error)
        return await self._withhold(record, "adult") if adult else record

    async def give_up(self, record: JobRecord, error: Exception) -> JobRecord:
        """A result whose file is lost, damaged, or impossible to check is never shown; a clip's units are given back.

        A LoRA is more than its preview: it stays, and what it cost stays charged.
        """
        logger.error("a result can't be shown: %s", error, extra={"job_id": record.job_id})
        return await self._withhold(record, "unchecked")

    async def _withhold(self, record: JobRecord, reason: str) -> JobRecord:
        async with self.database.transaction() as tx:
            await jobs_table.withhold(tx, record.job_id, reason)
            if reason == "unchecked" and not isinstance(record.result, LoraTrained):
                await self.quotas.credit(tx, record.job_id)
                await jobs_table.note_credited(tx, record.job_id)
        logger.info("a result is withheld: %s", reason, extra={"job_id": record.job_id})
        return await jobs_table.get(self.database.reader, record.job_id) or record

    async def shows_preview(self, record: JobRecord, preview: StoredObject) -> bool:
        """True when a picture of a running job may be seen in its channel."""
        if preview.key not in self._previews:
            try:
                hidden = self.scorer is not None and not await self._adults_only(record.guild_id, marked=record.adult_channel)
                self._previews[preview.key] = not (hidden and await self._adult([preview]))
            except (ScorerError, StoreError) as error:
                logger.warning("no preview: %s", error, extra={"job_id": record.job_id})
                if isinstance(error, UnjudgeableError) or (isinstance(error, StoreError) and not error.code.retryable):
                    self._previews[preview.key] = False  # the next one may be better
                return False
            while len(self._previews) > REMEMBERED:
                del self._previews[next(iter(self._previews))]
        return self._previews[preview.key]

    async def _adults_only(self, guild_id: int | None, *, marked: bool) -> bool:
        """True where adult content may be seen."""
        return marked and (await self.servers.get(guild_id)).content_level is ContentLevel.CHANNEL

    async def _adult(self, objects: Sequence[StoredObject]) -> bool:
        assert self.scorer is not None
        paths = [await self.files.fetch(obj) for obj in objects]
        try:
            return max(await self.scorer.score(paths)) >= self.threshold
        finally:
            for path in paths:
                await asyncio.to_thread(path.unlink, missing_ok=True)


def _shown(record: JobRecord) -> list[StoredObject]:
    """What a result's message shows: the clip, or the preview of a LoRA."""
    match record.result:
        case LoraTrained(preview=preview, poster=poster):
            return [obj for obj in (preview or poster,) if obj is not None]
        case None:
            return []
        case result:
            return [result.file]


def _all(record: JobRecord) -> list[StoredObject]:
    return [*_shown(record), *([record.result.file] if isinstance(record.result, LoraTrained) else [])]
