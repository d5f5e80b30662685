"""Captions before a training: a worker describes the items that came without one, so that their owner can read and change them."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass

from aiosqlite import Connection
from ulid import ULID

from bot.config import BotSettings
from bot.queue import JobQueue, QueueUnavailableError
from bot.services.line import Line
from bot.storage import datasets as table
from bot.storage.database import Database
from bot.storage.datasets import DatasetState
from engine.contracts.events import Event, JobCancelled, JobFailed, JobSucceeded
from engine.contracts.jobs import CaptionItems, DatasetItem
from engine.contracts.media import MAX_CAPTION_CHARS
from engine.contracts.results import ItemsCaptioned

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Captioning:
    """Asks workers for captions of drafts. Nothing depends on an answer: what has no caption is described by its training."""

    settings: BotSettings
    database: Database
    queue: JobQueue
    line: Line

    async def ask(self, dataset_id: str) -> bool:
        """Have the items of a draft described that have no caption; False when there are none, or nobody can be asked now."""
        dataset = await table.get(self.database.reader, dataset_id)
        items = [item for item in await table.items(self.database.reader, dataset_id) if item.words is None]
        if dataset is None or dataset.state is not DatasetState.DRAFT or not items:
            return False
        await self.forget(dataset_id)
        job = CaptionItems(
            job_id=str(ULID()),
            base=self.settings.base,
            dataset_id=dataset_id,
            lora_kind=dataset.kind,
            items=tuple(DatasetItem(media=item.media, filename=item.filename) for item in items),
        )
        async with self.database.transaction() as tx:
            await table.await_captions(tx, dataset_id, job.job_id)
            pool = (await self.line.route(tx, job, dataset.guild_id)).pool
        try:
            return await self.queue.enqueue(job, pool)
        except QueueUnavailableError as error:
            logger.warning("captions are left to the training: %s", error)
            async with self.database.transaction() as tx:
                await table.end_captions(tx, job.job_id)
            return False

    async def forget(self, dataset_id: str) -> None:
        """Nobody needs the captions any more that were asked for."""
        job_id = await table.caption_job(self.database.reader, dataset_id)
        if job_id is None:
            return
        async with self.database.transaction() as tx:
            await table.end_captions(tx, job_id)
        with contextlib.suppress(QueueUnavailableError):  # then they are made in vain
            await self.queue.request_cancel(job_id)


async def applied(tx: Connection, event: Event) -> bool:
    """Apply an event of a job that has no row; False when no draft waits for that job."""
    if isinstance(event, JobSucceeded) and isinstance(event.result, ItemsCaptioned):
        captions = {sha256: " ".join(text.split())[:MAX_CAPTION_CHARS] for sha256, text in event.result.captions.items()}
        await table.suggest(tx, event.result.dataset_id, captions)
    known = await table.is_caption_job(tx, event.job_id)
    if isinstance(event, JobSucceeded | JobFailed | JobCancelled):
        await table.end_captions(tx, event.job_id)
    return known
