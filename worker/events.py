"""What one try of a job tells the bot: milestones in order on the stream, progress as a latest-wins value. Telling never raises."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from engine.contracts import wire
from engine.contracts.events import (
    CheckpointSaved,
    Event,
    JobCancelled,
    JobFailed,
    JobStarted,
    JobSucceeded,
    PreviewReady,
    Progress,
)
from engine.contracts.failures import FailureCode
from engine.contracts.model import StoredObject
from engine.contracts.results import WorkResult
from worker.connection import OUTAGE, stop_tasks
from worker.failures import clip
from worker.lease import End, Lease, LeaseBook, Release

logger = logging.getLogger(__name__)

PROGRESS_EVERY_S = 0.5
OUTAGE_PAUSE_S = 0.5
FLUSH_S = 2.0


class Reporter:
    """Numbers and spools the events of one try. What is still unsent when the try ends travels with its ending, in order.

    Needs `lease.attempt`, so `LeaseBook.begin` comes first.
    """

    def __init__(self, book: LeaseBook, lease: Lease) -> None:
        self._book = book
        self._lease = lease
        self._seq = 0
        self._spool: deque[Event] = deque()
        self._progress: Progress | None = None
        self._progress_at = 0.0  # monotonic time before which no other value is written
        self._news = asyncio.Event()
        self._closing = False

    @contextlib.asynccontextmanager
    async def sending(self) -> AsyncIterator[Reporter]:
        """Send in the background while the body runs; afterwards `unsent` is what has to travel with the job's ending."""
        sender = asyncio.create_task(self._send_all())
        try:
            yield self
        finally:
            self._closing = True
            self._news.set()
            # An event cut off on its way may arrive and be told again, which the bot ignores; waiting a little avoids most of that.
            await asyncio.wait([sender], timeout=FLUSH_S)
            await stop_tasks(sender)

    @property
    def unsent(self) -> tuple[Event, ...]:
        """Milestones that are not known to be on the stream, in order."""
        return tuple(self._spool)

    def started(self, total_steps: int) -> None:
        """The child has begun."""
        self._push(JobStarted(**self._stamp(), worker_id=self._book.worker_id, total_steps=total_steps))

    def preview(self, step: int, image: StoredObject) -> None:
        """A picture of the training so far is in the store."""
        self._push(PreviewReady(**self._stamp(), step=step, image=image))

    def checkpoint(self, step: int) -> None:
        """Any worker can go on from `step`."""
        self._push(CheckpointSaved(**self._stamp(), step=step))

    def progress(self, progress: Progress) -> None:
        """The latest state; older values not yet sent are forgotten."""
        self._progress = progress
        self._news.set()

    def succeeded(self, result: WorkResult) -> End:
        """The job's last word."""
        return End(JobSucceeded(**self._stamp(), result=result))

    def failed(self, code: FailureCode, detail: str, steps_done: int) -> End:
        """The job's last word; `detail` is for operators."""
        return End(JobFailed(**self._stamp(), code=code, detail=clip(detail), steps_done=steps_done))

    def cancelled(self, steps_done: int) -> End:
        """The job's last word."""
        return End(JobCancelled(**self._stamp(), steps_done=steps_done))

    def released(self, *, counted: bool, delay_s: float = 0.0) -> Release:
        """The job goes back to its queue."""
        return Release(counted=counted, delay_s=delay_s)

    def _stamp(self) -> dict[str, Any]:
        self._seq += 1
        return {"job_id": self._lease.job_id, "attempt": self._lease.attempt, "seq": self._seq, "at": time.time()}

    def _push(self, event: Event) -> None:
        self._spool.append(event)
        self._news.set()

    async def _send_all(self) -> None:
        while not self._lease.lost:
            await self._news.wait()
            self._news.clear()
            try:
                while self._spool and not self._lease.lost:
                    await self._book.emit(self._lease, self._spool[0])
                    self._spool.popleft()
                if self._closing:
                    return
                await self._send_progress()
            except OUTAGE as error:
                logger.warning("redis is away, %d events wait: %s", len(self._spool), error, extra={"job_id": self._lease.job_id})
                self._news.set()
                await asyncio.sleep(OUTAGE_PAUSE_S)

    async def _send_progress(self) -> None:
        """Write the latest value, at most every `PROGRESS_EVERY_S`; milestones never wait for it."""
        if self._progress is None:
            return
        early_s = self._progress_at - time.monotonic()
        if early_s > 0:
            asyncio.get_running_loop().call_later(early_s, self._news.set)
            return
        progress, self._progress = self._progress, None
        self._progress_at = time.monotonic() + PROGRESS_EVERY_S
        key = self._book.keys.progress(self._lease.job_id)
        await self._book.redis.set(key, progress.model_dump_json(), ex=wire.PROGRESS_EXPIRES_S)
