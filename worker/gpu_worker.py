"""arq's worker with owned leases: one instance per lane, all of them in one event loop around one GPU child.

What is overridden of arq 0.28.0, and why (tests/unit/worker/test_arq_contract.py pins the originals):
- `_poll_iteration`: claims by one Lua script over several queues, skips running jobs at any depth, survives outages;
- `finish_job`, `finish_failed_job`: fenced and repeated until Redis has them; the terminal event is part of the same script;
- `heart_beat`: arq's health key and cron are not used, `worker/health.py` announces the whole process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from arq.jobs import SerializationError, deserialize_job_raw
from arq.worker import Worker, func

from engine.contracts import wire
from engine.contracts.status import Lane
from worker.connection import OUTAGE, patiently, stop_tasks
from worker.lease import End, Lease, LeaseBook

logger = logging.getLogger(__name__)

KEEP_RESULT_S = 3600
PEEK_EVERY_S = 1.0
UNLIMITED_TRIES = 1_000_000_000  # tries are counted in the lease book; arq also counts deploys
ARQ_TIMEOUT_S = 30 * 24 * 3600  # limits are enforced by the task, which can say TIMED_OUT; arq's would only drop the job
CLOSING_S = 5.0
EAGER_S = 0.004
"""After a short job the dispatcher is about to hand out the next one: pauses begin here and double until they are arq's own."""

JobTask = Callable[[Lease, int, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Runs one claimed job to its `lease.closing`: lease, lowest attempt number, the job as JSON. Returns what arq stores."""


class GpuWorker(Worker):
    """One lane of one GPU.

    Args:
        lane: For the record (`health`) only; the queues decide what it gets.
        queues: Redis names, the first with work wins.
        book: Leases of this process.
        task: Runs a claimed job; see `worker/tasks.py`.
        unreadable: Makes the ending of a job that arq could not even decode.
        ended: Called once after a job's end is committed; must not raise.
        ahead: Told of the next waiting job, as JSON, while this lane is busy, so that its files can be fetched; must not raise.
        ready: False while the GPU child can't take work; nothing is claimed then.
        poll_s: Time between two looks at empty queues.
    """

    def __init__(
        self,
        *,
        lane: Lane,
        queues: Sequence[str],
        book: LeaseBook,
        task: JobTask,
        unreadable: Callable[[Lease, str], Awaitable[None]],
        ended: Callable[[Lease], Awaitable[None]],
        ahead: Callable[[dict[str, Any]], Coroutine[Any, Any, None]],
        ready: Callable[[], bool],
        poll_s: float,
    ) -> None:
        async def run_job(ctx: dict[str, Any], payload: dict[str, Any]) -> dict[str, Any]:
            return await task(self.leases[ctx["job_id"]], ctx["job_try"], payload)

        super().__init__(
            functions=[func(run_job, name=wire.TASK, max_tries=UNLIMITED_TRIES, timeout=ARQ_TIMEOUT_S)],
            queue_name=queues[0],
            redis_pool=book.redis,
            handle_signals=False,
            max_jobs=2,  # one on the device, one whose files are being written and stored, see `_has_room`
            keep_result=KEEP_RESULT_S,
            poll_delay=poll_s,
            max_tries=UNLIMITED_TRIES,
            job_serializer=wire.dumps,
            job_deserializer=wire.loads,
            log_results=False,
        )
        self.lane = lane
        self.queues = tuple(queues)
        self.book = book
        self.leases: dict[str, Lease] = {}
        self._unreadable = unreadable
        self._ended = ended
        self._ahead = ahead
        self._peek_at = 0.0
        self._peeked = ""
        self._looking: asyncio.Task[None] | None = None
        self._ready = ready
        self._closings: dict[str, asyncio.Task[None]] = {}
        self._outage = False

    @property
    def busy_with(self) -> str | None:
        """Id of the job this lane runs; one that is only being stored when there is no other."""
        running = (job_id for job_id, lease in self.leases.items() if not lease.device_free)
        return next(running, next(iter(self.leases), None))

    @property
    def _has_room(self) -> bool:
        """The device is free for another job: what is left of the last one, if anything, is to store its files."""
        return self.job_counter < self.max_jobs and all(lease.device_free for lease in self.leases.values())

    async def drain(self) -> None:
        """Stop claiming, and give the ends of jobs `CLOSING_S` to reach Redis; a lease that can't be closed lapses by itself.

        Jobs should have ended before, see `tasks.Tasks.draining`; what still runs after `CLOSING_S` is cancelled.
        """
        self.allow_pick_jobs = False
        left = {*self.tasks.values(), *self._closings.values()}
        if left:
            await asyncio.wait(left, timeout=CLOSING_S)
        await stop_tasks(*self.tasks.values(), *self._closings.values(), *([self._looking] if self._looking is not None else []))
        if self.main_task:
            await stop_tasks(self.main_task)

    async def _poll_iteration(self) -> None:
        try:
            pause_s = self.poll_delay_s
            while self.allow_pick_jobs and self._has_room and self._ready():
                lease = await self.book.claim(self.queues)
                if self._outage:
                    logger.info("redis is back")
                self._outage = False
                if lease is None:
                    if pause_s >= self.poll_delay_s:
                        break
                    await asyncio.sleep(pause_s)
                    pause_s *= 2
                    continue
                await self._start(lease)
                # the next one follows a short job at once; after a long one arq's own rhythm goes on
                ended, _ = await asyncio.wait({self.tasks[lease.job_id]}, timeout=self.poll_delay_s)
                pause_s = min(EAGER_S, self.poll_delay_s) if ended else self.poll_delay_s
                self._reap()
            if self.leases and self.allow_pick_jobs:
                await self._look_ahead()
        except OUTAGE as error:
            if not self._outage:
                logger.warning("redis is away: %s", error)
            self._outage = True
        self._reap()

    async def _look_ahead(self) -> None:
        """Tell of the job that will probably be next; whether it is, is not known before it is claimed."""
        if time.monotonic() < self._peek_at or (self._looking is not None and not self._looking.done()):
            return
        self._peek_at = time.monotonic() + PEEK_EVERY_S
        found = await self.book.peek(self.queues)
        if found is None or found[0] == self._peeked:
            return
        self._peeked = found[0]
        try:
            _, (payload, *_), _, _, _ = deserialize_job_raw(found[1], deserializer=self.job_deserializer)
        except (SerializationError, ValueError):
            return  # whoever claims it says so
        self._looking = self.loop.create_task(self._ahead(payload))

    async def _start(self, lease: Lease) -> None:
        await self.sem.acquire()
        self.job_counter += 1
        self.leases[lease.job_id] = lease
        task = self.loop.create_task(self.run_job(lease.job_id, lease.score), name=lease.job_id)
        task.add_done_callback(lambda _: self._release_sem_dec_counter_on_complete())
        self.tasks[lease.job_id] = task
        beats = self.loop.create_task(self._beat(lease))
        task.add_done_callback(lambda _: beats.cancel())

    def _reap(self) -> None:
        for job_id, task in list(self.tasks.items()):
            if not task.done():
                continue
            del self.tasks[job_id]
            if job_id not in self._closings:
                self.leases.pop(job_id, None)
            error = None if task.cancelled() else task.exception()
            if error is not None:
                # The lease lapses by itself and the try is counted, so the job is neither lost nor repeated for ever.
                logger.error("job left to its lease: %s", error, exc_info=error, extra={"job_id": job_id})

    async def _beat(self, lease: Lease) -> None:
        """Renew the lease until the job is closed; a lost lease stops the job, since its work can't be committed any more."""
        while not lease.lost:
            await asyncio.sleep(self.book.lease_s / 3)
            if self.leases.get(lease.job_id) is not lease:
                return
            try:
                await self.book.beat(lease)
            except OUTAGE as error:
                logger.warning("lease not renewed: %s", error, extra={"job_id": lease.job_id})
        logger.warning("lease lost, another worker has the job", extra={"job_id": lease.job_id})
        running = self.job_tasks.get(lease.job_id)
        if running is not None:
            running.cancel()

    async def finish_job(self, job_id: str, _finish: bool, result_data: bytes | None, *_how: object) -> None:
        """Close the lease as the task decided; arq's own view of how the job ended follows from that decision."""
        await self._close(self.leases[job_id], result_data)

    async def finish_failed_job(self, job_id: str, result_data: bytes | None) -> None:
        """End a job that arq could not decode, or whose arguments have expired."""
        lease = self.leases[job_id]
        await self._unreadable(lease, "arq could not read the job: expired, unknown function or bad encoding")
        await self._close(lease, result_data)

    async def _close(self, lease: Lease, result: bytes | None) -> None:
        # A task of its own: arq only shields its end of it, and a drain has to be able to wait for ours.
        closing = self.loop.create_task(self._close_now(lease, result))
        self._closings[lease.job_id] = closing
        closing.add_done_callback(lambda _: self._closings.pop(lease.job_id, None))
        await asyncio.shield(closing)

    async def _close_now(self, lease: Lease, result: bytes | None) -> None:
        pause_s = min(1.0, self.book.lease_s / 3)
        held = not lease.lost and await patiently(lambda: self.book.close(lease, result, KEEP_RESULT_S), "the end of a job", pause_s)
        if not held:
            logger.warning("another worker has the job; nothing was committed", extra={"job_id": lease.job_id})
        self.leases.pop(lease.job_id, None)
        if held and isinstance(lease.closing, End):
            await self._ended(lease)

    async def heart_beat(self) -> None:
        """Do nothing: `worker/health.py` announces the process, and there are no cron jobs."""
