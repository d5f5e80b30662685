"""Hands waiting jobs to arq, as late as possible, and keeps SQLite and Redis of one mind.

SQLite is the queue: a job is handed out only when a live worker can start it now or next, so order, fairness and position are rows and
indexes. The reconciler heals what an outage, a wiped Redis or a dead worker left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from bot.clock import Clock
from bot.queue import JobQueue, QueueUnavailableError, Whereabouts
from bot.services import fleet
from bot.services.line import Line
from bot.services.outcomes import Outcomes
from bot.services.posts import Posts
from bot.services.scheduling import LOOK_AHEAD, arrange, stack_of
from bot.storage import cursors
from bot.storage import jobs as table
from bot.storage import line as line_table
from bot.storage.database import Database
from bot.storage.jobs import JobRecord
from engine.contracts.failures import FailureCode
from engine.contracts.status import SHARED, JobStatus, Lane, WorkerStatus

logger = logging.getLogger(__name__)

MAX_LOSSES = 5
"""A job that was lost more often than this is given up: something about it, or about the machine, is not going to work."""
SPILL_BATCH = 20
LEAST_PAUSE_S = 0.005
"""Between two rounds, so that what comes together is handed out together."""
GRACE_S = 3.0
"""A job handed out this recently may still be on its way."""


@dataclass
class Dispatcher:
    """`run_dispatch` and `run_reconcile` are two tasks of the bot; `dispatch` and `reconcile` are one round of each."""

    database: Database
    queue: JobQueue
    outcomes: Outcomes
    posts: Posts
    line: Line
    clock: Clock
    dispatch_interval_s: float
    reconcile_interval_s: float
    _missing: set[str] = field(default_factory=set)
    """Jobs that were not in Redis at the last round."""
    _loaded: dict[tuple[str, Lane, str], frozenset[str]] = field(default_factory=dict)
    """LoRAs of the job that was handed out last, by base, lane and pool."""

    async def run_dispatch(self) -> None:
        """Dispatch for ever: at once when something stirs, and every `dispatch_interval_s` for what nobody tells, such as a new worker."""
        while True:
            self.queue.stirred.clear()
            try:
                await self.dispatch()
            except QueueUnavailableError as error:
                logger.debug("nothing is handed out: %s", error)
            await asyncio.sleep(LEAST_PAUSE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.dispatch_interval_s):
                    await self.queue.stirred.wait()

    async def run_reconcile(self) -> None:
        """Reconcile for ever."""
        while True:
            try:
                await self.reconcile()
            except QueueUnavailableError as error:
                logger.debug("nothing to compare with: %s", error)
            await asyncio.sleep(self.reconcile_interval_s)

    async def dispatch(self) -> int:
        """Hand out what live workers can take: per lane at most one job more than there are workers. How many.

        Raises:
            QueueUnavailableError: Redis is away; what was marked but perhaps not enqueued is looked up by `reconcile`.
        """
        workers = await self.queue.workers()
        await self._spill_over(workers)
        handed_out = 0
        for base, lane, pool in await line_table.waiting_lanes(self.database.reader):
            versions = fleet.live_versions(workers, base, lane, pool)
            if not versions:
                continue
            handed = await line_table.handed_out(self.database.reader, base, lane, pool)
            room = len(versions) + 1 - sum(handed.values())
            if room <= 0:
                continue
            newest = _newest_with_room(versions, handed)
            loaded = self._loaded.get((base, lane, pool), frozenset())
            waiting = await line_table.waiting(self.database.reader, base, lane, pool, room + (LOOK_AHEAD if loaded else 0), newest)
            chosen = arrange(waiting, loaded, lane, room)
            if chosen:
                handed_out += await self._hand_out(chosen)
                self._loaded[base, lane, pool] = stack_of(chosen[-1].job)
        return handed_out

    async def _spill_over(self, workers: list[WorkerStatus]) -> None:
        """Jobs that waited long enough for their server's own workers may run on shared ones, if there are any."""
        for record in await line_table.due_to_spill(self.database.reader, self.clock(), SPILL_BATCH):
            if fleet.live(workers, record.base, record.lane, SHARED):
                async with self.database.transaction() as tx:
                    await self.line.move(tx, record, SHARED)

    async def _hand_out(self, records: Sequence[JobRecord]) -> int:
        """Mark first, then enqueue: a crash in between leaves rows that `reconcile` finds missing in Redis, never a job without a row."""
        now = self.clock()
        async with self.database.transaction() as tx:
            marked = [
                record
                for record in records
                if await line_table.may_run(tx, record.job_id) and await table.mark_dispatched(tx, record.job_id, now)
            ]
        lost_before = [record for record in marked if record.losses]
        found = await self.queue.find([(record.job, record.pool) for record in lost_before])
        for job_id, where in found.items():
            if not where.queued:
                await self.queue.forget(job_id)
        # workers count tries in Redis; after a loss they go on from the number SQLite remembers, so that no artifact is overwritten
        arrived = await self.queue.enqueue_all([(record.job, record.pool, record.attempt + 1) for record in marked])
        for job_id in (job_id for job_id, there in arrived.items() if not there):
            logger.warning("arq did not take the job", extra={"job_id": job_id})
        return sum(arrived.values())

    async def reconcile(self) -> int:
        """Compare open jobs with Redis and heal the differences. How many jobs went back to waiting, or were given up.

        Raises:
            QueueUnavailableError: Redis is away.
        """
        records = await table.open_jobs(self.database.reader, JobStatus.DISPATCHED, JobStatus.RUNNING)
        for record in records:
            if record.cancel_requested:
                await self.queue.request_cancel(record.job_id)
        settled = [record for record in records if self.clock() - (record.dispatched_at or record.created_at) > GRACE_S]
        found = await self.queue.find([(record.job, record.pool) for record in settled])
        alive = {worker.worker_id for worker in await self.queue.workers()}
        missing = {record.job_id for record in settled if not found[record.job_id].queued and not found[record.job_id].leased}
        # an end that waits in the stream explains why a job has left its queue
        confirmed = missing & self._missing if await self._caught_up() else set()
        self._missing = missing - confirmed
        healed = 0
        for record in settled:
            if record.job_id in confirmed:
                await self._lost(record)
                healed += 1
            elif _orphaned(record, found[record.job_id], alive):
                async with self.database.transaction() as tx:
                    healed += await table.mark_waiting(tx, record.job_id)
                logger.info("its worker is gone, the job waits for another", extra={"job_id": record.job_id})
        return healed

    async def _caught_up(self) -> bool:
        newest = await self.queue.last_event()
        return newest is None or cursors.order(newest) <= cursors.order(await cursors.get(self.database.reader, self.queue.keys.events))

    async def _lost(self, record: JobRecord) -> None:
        """Redis knows nothing of the job any more: it waits again, or is given up, or its cancellation is complete."""
        async with self.database.transaction() as tx:
            current = await table.get(tx, record.job_id)
            if current is None or current.status.terminal:
                return
            if current.cancel_requested:
                await self.outcomes.cancel(tx, current, current.steps_done)
            elif await table.losses(tx, record.job_id) >= MAX_LOSSES:
                await self.outcomes.fail(
                    tx, current, FailureCode.WORKER_LOST, f"lost {MAX_LOSSES + 1} times", steps_done=current.steps_done
                )
            else:
                await table.mark_lost(tx, record.job_id)
        self.posts.announce()
        logger.warning("redis lost the job", extra={"job_id": record.job_id})


def _newest_with_room(versions: list[int], handed: dict[int, int]) -> int:
    """The newest contract version that some worker with nothing more to do than one job speaks; 1 at least."""
    for version in sorted(set(versions), reverse=True):
        speakers = sum(1 for spoken in versions if spoken >= version)
        if sum(jobs for needed, jobs in handed.items() if needed >= version) <= speakers:
            return version
    return 1


def _orphaned(record: JobRecord, found: Whereabouts, alive: set[str]) -> bool:
    return record.status is JobStatus.RUNNING and found.queued and not found.leased and record.worker_id not in alive
