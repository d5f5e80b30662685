"""`python -m tests.bench.queue_worker FOLDER COUNT`: workers whose jobs take no time, for `bench_queue.py`.

Each is one render lane as in `worker/__main__.py`: claims, leases, fenced commits, events and announcements are the real ones; only the
task, which would ask a GPU, returns at once. `plain` as COUNT starts stock arq with its defaults instead.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from arq.connections import RedisSettings
from arq.worker import Worker, func

from engine.contracts import wire
from engine.contracts.geometry import Geometry
from engine.contracts.jobs import JOB_ADAPTER, GenerateVideo
from engine.contracts.results import VideoRendered
from engine.contracts.status import SHARED, Lane, WorkerState, WorkerStatus
from tests.support.contracts import stored
from worker.connection import open_redis
from worker.events import Reporter
from worker.gpu_worker import GpuWorker
from worker.lease import Lease, LeaseBook

KEYS = wire.Keys()


async def _run(book: LeaseBook, lease: Lease, lowest_attempt: int, payload: dict[str, Any]) -> dict[str, Any]:
    await book.begin(lease, lowest_attempt)
    reporter = Reporter(book, lease)
    async with reporter.sending():
        job = JOB_ADAPTER.validate_python(payload)
        assert isinstance(job, GenerateVideo)
        reporter.started(16)
        file = stored(f"jobs/{job.job_id}/1/clip.mp4", "video/mp4")
        shape = Geometry(width=32, height=32, num_frames=9, fps=8.0)
        made = VideoRendered(file=file, poster=None, geometry=shape, posted_width=256, posted_height=256, seed=1, seconds=0.0)
        lease.closing = reporter.succeeded(made)
    lease.closing = type(lease.closing)(lease.closing.event, reporter.unsent)
    return {"ending": "job_succeeded"}


async def _nothing(*_: object) -> None:
    return None


async def _announce(books: list[LeaseBook]) -> None:
    while True:
        for book in books:
            status = WorkerStatus(
                worker_id=book.worker_id,
                state=WorkerState.READY,
                base="tiny",
                lanes=(Lane.RENDER,),
                busy={},
                contract_version=wire.CONTRACT_VERSION,
                device="none",
                started_at=0.0,
            )
            await book.redis.hset(KEYS.workers, book.worker_id, status.model_dump_json())  # type: ignore[misc]
            await book.redis.set(KEYS.worker_alive(book.worker_id), b"1", ex=10)
        await asyncio.sleep(2)


async def main(url: str, count: int, poll_s: float) -> None:
    """Serve until killed."""
    redis = open_redis(url)
    books = [LeaseBook(redis, KEYS, f"bench{number}", 15.0) for number in range(count)]
    queues = KEYS.queues("tiny", Lane.RENDER, (SHARED,))

    def lane(book: LeaseBook) -> GpuWorker:
        async def task(lease: Lease, lowest_attempt: int, payload: dict[str, Any]) -> dict[str, Any]:
            return await _run(book, lease, lowest_attempt, payload)

        return GpuWorker(
            lane=Lane.RENDER,
            queues=queues,
            book=book,
            task=task,
            unreadable=_nothing,
            ended=_nothing,
            ahead=_nothing,
            ready=lambda: True,
            poll_s=poll_s,
        )

    for book in books:
        await book.start(queues)
    await asyncio.gather(_announce(books), *(lane(book).async_run() for book in books))


def plain(url: str) -> None:
    """Stock arq with its defaults, on its default queue."""

    async def run_job(ctx: dict[str, Any], payload: dict[str, Any]) -> dict[str, Any]:
        del ctx, payload
        return {"ending": "job_succeeded"}

    Worker(functions=[func(run_job, name=wire.TASK)], redis_settings=RedisSettings.from_dsn(url), handle_signals=False).run()


if __name__ == "__main__":
    if sys.argv[2] == "plain":
        plain(sys.argv[1])
    else:
        asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
