"""What a monitor reads of the bot: Prometheus text at `/metrics`. Counted as it happens, or asked of SQLite and Redis at the scrape."""

from __future__ import annotations

import contextlib
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from bot.clock import Clock
from bot.queue import JobQueue, QueueUnavailableError
from bot.storage import cursors, figures
from bot.storage.database import Database
from engine.contracts.events import Event, JobFailed, JobSucceeded
from engine.contracts.results import ItemsCaptioned, LoraTrained
from engine.contracts.status import WorkerState

ACK_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0)
JOB_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)


class BotMetrics:
    """Figures of one bot; `text` is one scrape."""

    def __init__(self, database: Database, queue: JobQueue, clock: Clock) -> None:
        self._database = database
        self._queue = queue
        self._clock = clock
        self.registry = registry = CollectorRegistry()
        self._events = Counter("callsheet_events", "Applied events of workers", ["kind"], registry=registry)
        self._failures = Counter("callsheet_job_failures", "Jobs that failed, by reason", ["code"], registry=registry)
        self._seconds = Histogram("callsheet_job_seconds", "Wall time of successes", ["kind"], buckets=JOB_SECONDS, registry=registry)
        self._acks = Histogram("callsheet_ack_seconds", "Press to first answer", buckets=ACK_SECONDS, registry=registry)
        line = ["lane", "pool", "plan"]
        self._waiting = Gauge("callsheet_waiting_jobs", "Jobs in line", line, registry=registry)
        self._oldest = Gauge("callsheet_waiting_oldest_seconds", "Age of the oldest job in line", line, registry=registry)
        self._handed_out = Gauge("callsheet_open_jobs", "Jobs that Redis has", ["status"], registry=registry)
        self._posts = Gauge("callsheet_outbox_posts", "Messages not yet in Discord", registry=registry)
        self._post_age = Gauge("callsheet_outbox_oldest_seconds", "Age of the oldest of them", registry=registry)
        self._workers = Gauge("callsheet_workers", "Live workers", ["state"], registry=registry)
        self._redis_up = Gauge("callsheet_redis_up", "1 when Redis answers", registry=registry)
        self._lag = Gauge("callsheet_event_lag_seconds", "Time between the newest event and the newest applied one", registry=registry)
        self._scrape = Gauge("callsheet_scrape_seconds", "Time the last scrape took", registry=registry)

    def event(self, event: Event) -> None:
        """An event was applied."""
        self._events.labels(event.kind).inc()
        if isinstance(event, JobFailed):
            self._failures.labels(event.code).inc()
        elif isinstance(event, JobSucceeded) and not isinstance(event.result, ItemsCaptioned):
            seconds = event.result.seconds
            self._seconds.labels("train" if isinstance(event.result, LoraTrained) else "render").observe(seconds)

    def acked(self, seconds: float) -> None:
        """A person got the first answer."""
        self._acks.observe(seconds)

    async def text(self) -> bytes:
        """Prometheus's text format."""
        began, now = time.perf_counter(), self._clock()
        async with self._database.snapshot() as db:
            waiting, handed_out = await figures.waiting(db), await figures.with_workers(db)
            posts, oldest_post = await figures.pending_posts(db)
            position = await cursors.get(db, self._queue.keys.events)
        self._waiting.clear()
        self._oldest.clear()
        for line in waiting:
            self._waiting.labels(line.lane, line.pool, line.plan).set(line.jobs)
            self._oldest.labels(line.lane, line.pool, line.plan).set(max(0.0, now - line.oldest_at))
        for status in ("dispatched", "running"):
            self._handed_out.labels(status).set(handed_out.get(status, 0))
        self._posts.set(posts)
        self._post_age.set(max(0.0, now - oldest_post) if oldest_post is not None else 0.0)
        for state in WorkerState:
            self._workers.labels(state).set(sum(worker.state is state for worker in self._queue.seen_workers))
        self._redis_up.set(self._queue.alive)
        with contextlib.suppress(QueueUnavailableError):
            newest = await self._queue.last_event() if self._queue.alive else None
            self._lag.set(_lag_s(newest, position))
        self._scrape.set(time.perf_counter() - began)
        return generate_latest(self.registry)


def _lag_s(newest: str | None, position: str) -> float:
    """Seconds between two entries of the stream: their ids begin with milliseconds."""
    if newest is None or position == cursors.START:
        return 0.0
    return max(0.0, (cursors.order(newest)[0] - cursors.order(position)[0]) / 1000)
