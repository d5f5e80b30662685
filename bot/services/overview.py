"""Jobs as a person may see them now: the row, its place in the order, how far it is, when it should end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from bot.queue import JobQueue, QueueUnavailableError
from bot.services import fleet
from bot.services.estimates import Estimates
from bot.storage.jobs import JobRecord
from engine.contracts.events import Progress
from engine.contracts.status import JobStatus

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobView:
    """A job as a person may see it now."""

    record: JobRecord
    position: int | None  # 1 = next to start; None unless queued or dispatched
    eta: float | None  # unix seconds at which it should end; None when nothing is known
    progress: Progress | None = None


@dataclass(frozen=True)
class Overview:
    """Turns rows into views. Without Redis there is no progress to show, and everything else still is."""

    queue: JobQueue
    estimates: Estimates

    async def view(self, record: JobRecord) -> JobView:
        """One job."""
        return (await self.views([record]))[0]

    async def views(self, records: Sequence[JobRecord]) -> list[JobView]:
        """Several jobs, with one question to Redis."""
        progress = await self._progress([record.job_id for record in records if record.status is JobStatus.RUNNING])
        paces = {
            key: await self.estimates.pace(key[0], key[1], fleet.live(self.queue.seen_workers, *key), key[2])
            for key in {(record.base, record.lane, record.pool) for record in records if not record.status.terminal}
        }
        waiting = [record for record in records if record.status in (JobStatus.QUEUED, JobStatus.DISPATCHED)]
        ahead = await self.estimates.ahead(waiting)
        views = []
        for record in records:
            seen = progress.get(record.job_id)
            pace = paces.get((record.base, record.lane, record.pool))
            position, eta = (None, None) if pace is None else self.estimates.place(record, pace, ahead.get(record.job_id, (0, 0)), seen)
            views.append(JobView(record, position, eta, seen))
        return views

    async def _progress(self, job_ids: Sequence[str]) -> dict[str, Progress]:
        if not job_ids or not self.queue.alive:
            return {}
        try:
            return await self.queue.progress(job_ids)
        except QueueUnavailableError as error:
            logger.info("no progress to show: %s", error)
            return {}
