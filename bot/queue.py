"""Redis as the bot sees it: arq's queues, the event stream, heartbeats, progress, and whether any of it answers.

arq is only the transport: what waits is decided in SQLite (`bot/dispatcher.py`). Every call has short timeouts, because somebody may be
waiting for the answer, and raises `QueueUnavailableError` when Redis is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix, job_key_prefix, result_key_prefix
from arq.jobs import serialize_job
from pydantic import ValidationError
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from bot.errors import Refusal, RefusalCode
from engine.contracts import wire
from engine.contracts.events import Progress
from engine.contracts.jobs import Work, lane_of
from engine.contracts.status import SHARED, WorkerStatus
from engine.contracts.versions import encode, version_needed

logger = logging.getLogger(__name__)

PING_INTERVAL_S = 1.0
PING_TIMEOUT_S = 0.7
"""Redis that is silent for longer counts as dead while a person waits for an answer."""
MAX_READ = 1000
QUICK_S = 1.5
"""Limit of the calls made while a person waits."""

SCAN_BATCH = 500
_ULID = re.compile(rb"[0-9A-HJKMNP-TV-Z]{26}")

_WITHDRAW = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then return 0 end
redis.call('DEL', KEYS[3], KEYS[4])
return 1
"""


# KEYS job, result, queue of each; ARGV expiry in ms, then id, score, message of each. It does what arq does with WATCH and MULTI.
_ENQUEUE = """
local taken = {}
for n = 1, #KEYS / 3 do
  local job, result, queue = KEYS[3 * n - 2], KEYS[3 * n - 1], KEYS[3 * n]
  taken[n] = 0
  if redis.call('EXISTS', job, result) == 0 then
    redis.call('SET', job, ARGV[3 * n + 1], 'PX', ARGV[1])
    redis.call('ZADD', queue, ARGV[3 * n], ARGV[3 * n - 1])
    taken[n] = 1
  end
end
return taken
"""


class QueueUnavailableError(Exception):
    """Redis does not answer, or refuses us."""


@dataclass(frozen=True)
class Whereabouts:
    """What Redis knows of a job."""

    queued: bool  # in its arq queue, where it stays while it runs
    leased: bool  # a worker holds it


@dataclass(frozen=True)
class StreamEntry:
    """One entry of the event stream; `data` is None for one that is not ours."""

    entry_id: str
    data: bytes | None


@dataclass
class JobQueue:
    """One Redis, shared by all tasks of the bot. Make it with `open_queue`."""

    redis: ArqRedis
    keys: wire.Keys
    seen_workers: list[WorkerStatus] = field(default_factory=list)
    """What the latest `workers()` found."""
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a job was submitted or has ended: something may be handed out."""
    _read: dict[bytes, WorkerStatus | None] = field(default_factory=dict)
    _alive: bool = False
    _ping: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """What the last ping said."""
        return self._alive

    async def require(self) -> None:
        """Return when Redis answers now.

        Raises:
            Refusal: QUEUE_UNAVAILABLE, after `PING_TIMEOUT_S` at most.
        """
        if not await self.ping():
            raise Refusal(RefusalCode.QUEUE_UNAVAILABLE)

    async def ping(self) -> bool:
        """Ask Redis; callers at the same time share one question."""
        if self._ping is None or self._ping.done():
            self._ping = asyncio.create_task(self._ping_once())
        await asyncio.shield(self._ping)
        return self._alive

    async def _ping_once(self) -> None:
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                await self.redis.ping()
                if not self._alive:  # a Redis that lost its data may have lost what workers were told
                    await self.redis.set(self.keys.forgotten, time.time_ns(), nx=True)
        except (RedisError, OSError, TimeoutError) as error:
            if self._alive:
                logger.warning("redis does not answer: %s", error)
            self._alive = False
            return
        if not self._alive:
            logger.info("redis answers")
        self._alive = True

    async def watch_health(self) -> None:
        """Ping for ever, so that `alive` is never much older than a second."""
        while True:
            await self.ping()
            await asyncio.sleep(PING_INTERVAL_S)

    def name_of(self, job: Work, pool: str) -> str:
        """The arq queue a job belongs into."""
        return self.keys.queue(job.base, lane_of(job), pool, version_needed(job))

    async def enqueue(self, job: Work, pool: str = SHARED, *, lowest_attempt: int = 1) -> bool:
        """Hand one job to arq; see `enqueue_all`."""
        return (await self.enqueue_all([(job, pool, lowest_attempt)]))[job.job_id]

    async def enqueue_all(self, jobs: Sequence[tuple[Work, str, int]]) -> dict[str, bool]:
        """Hand jobs, given with pool and lowest attempt number, to arq in this order: what its `enqueue_job` writes, in one call.

        Returns:
            True for a job that is in its queue now, be it from this call or an earlier one. False when something of it is left in Redis
            that keeps arq from taking it (`forget` removes it).
        """
        if not jobs:
            return {}
        now_ms = round(time.time() * 1000)
        keys: list[str] = []
        args: list[str | bytes | int] = [wire.JOB_EXPIRES_S * 1000]
        for number, (job, pool, lowest_attempt) in enumerate(jobs):
            keys += [job_key_prefix + job.job_id, result_key_prefix + job.job_id, self.name_of(job, pool)]
            tried = lowest_attempt if lowest_attempt > 1 else None
            message = serialize_job(wire.TASK, (encode(job),), {}, tried, now_ms, serializer=wire.dumps)
            args += [job.job_id, now_ms + number, message]  # arq breaks ties of a score by id
        with _translated():
            answers = await cast("Awaitable[list[int]]", self.redis.eval(_ENQUEUE, len(keys), *keys, *cast("list[str]", args)))
        arrived = {job.job_id: bool(answer) for (job, _, _), answer in zip(jobs, answers, strict=True)}
        unsure = [(job, pool) for job, pool, _ in jobs if not arrived[job.job_id]]
        return arrived | {job_id: where.queued for job_id, where in (await self.find(unsure)).items()}

    async def forget(self, job_id: str) -> None:
        """Remove what keeps arq from taking a lost job again."""
        with _translated():
            await self.redis.delete(job_key_prefix + job_id, result_key_prefix + job_id)

    async def find(self, jobs: Sequence[tuple[Work, str]]) -> dict[str, Whereabouts]:
        """Look for jobs, given with their pools, in their queues."""
        if not jobs:
            return {}
        with _translated():
            async with self.redis.pipeline(transaction=False) as pipe:
                for job, pool in jobs:
                    pipe.zscore(self.name_of(job, pool), job.job_id)
                    pipe.exists(in_progress_key_prefix + job.job_id)
                answers = await pipe.execute()
        scores, leases = answers[::2], answers[1::2]
        return {
            job.job_id: Whereabouts(queued=score is not None, leased=bool(lease))
            for (job, _), score, lease in zip(jobs, scores, leases, strict=True)
        }

    async def withdraw(self, job: Work, pool: str = SHARED) -> bool:
        """Take a job that no worker holds out of its queue. False: a worker holds it, or it is not there (any more)."""
        queue, job_id = self.name_of(job, pool), job.job_id
        keys = [in_progress_key_prefix + job_id, queue, job_key_prefix + job_id, self.keys.tries(job_id)]
        with _translated():
            async with asyncio.timeout(QUICK_S):
                return bool(await cast("Awaitable[Any]", self.redis.eval(_WITHDRAW, len(keys), *keys, job_id)))

    async def request_cancel(self, job_id: str) -> None:
        """Tell whoever runs the job, now or later, to stop."""
        with _translated():
            async with asyncio.timeout(QUICK_S):
                await self.redis.set(self.keys.cancel(job_id), b"1", ex=wire.CANCEL_EXPIRES_S)

    async def erase(self, job_ids: Collection[str]) -> None:
        """Remove every trace of jobs that are over: keys named after them, queue entries, events.

        An append-only file is rewritten where there is one, since it would keep what was deleted.
        """
        if not job_ids:
            return
        with _translated():
            await self._erase_keys(frozenset(job_ids))
            await self._erase_events(frozenset(job_ids))
            persistence = await self.redis.info("persistence")
            if persistence.get("aof_enabled"):
                with contextlib.suppress(ResponseError):  # a rewrite runs already
                    await self.redis.bgrewriteaof()  # type: ignore[no-untyped-call]  # untyped in redis-py

    async def drop_caches(self) -> None:
        """Tell all workers, those that are down at the moment too, to drop what they keep of anybody for reuse."""
        with _translated():
            await self.redis.set(self.keys.forgotten, time.time_ns())

    async def _erase_keys(self, job_ids: frozenset[str]) -> None:
        doomed, queues = [], []
        async for raw in self.redis.scan_iter(count=1000):
            key = raw.decode(errors="replace")
            if any(part in job_ids for part in key.split(":")):
                doomed.append(raw)
            elif key.startswith(self.keys.queue_prefix):
                queues.append(raw)
        for start in range(0, len(doomed), SCAN_BATCH):
            await self.redis.delete(*doomed[start : start + SCAN_BATCH])
        for queue in queues:
            await self.redis.zrem(queue, *job_ids)

    async def _erase_events(self, job_ids: frozenset[str]) -> None:
        after = "-"
        while entries := await self.redis.xrange(self.keys.events, min=after, count=SCAN_BATCH):
            theirs = [entry for entry, fields in entries if _mentions(fields.get(b"event", b""), job_ids)]
            if theirs:
                await self.redis.xdel(self.keys.events, *theirs)
            after = f"({entries[-1][0].decode()}"

    async def workers(self) -> list[WorkerStatus]:
        """Workers whose heartbeat is fresh; entries of dead ones are removed on the way."""
        with _translated():
            raw = await cast("Awaitable[dict[bytes, bytes]]", self.redis.hgetall(self.keys.workers))
            if not raw:
                self.seen_workers = []
                return []
            names = list(raw)
            async with self.redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.exists(self.keys.worker_alive(name.decode()))
                alive = await pipe.execute()
            dead = [name for name, lives in zip(names, alive, strict=True) if not lives]
            if dead:
                await cast("Awaitable[int]", self.redis.hdel(self.keys.workers, *cast("list[str]", dead)))
        statuses = [self._announced(raw[name]) for name, lives in zip(names, alive, strict=True) if lives]
        self.seen_workers = [status for status in statuses if status is not None]
        return self.seen_workers

    def _announced(self, data: bytes) -> WorkerStatus | None:
        """What a worker says, read once as long as it says the same."""
        if data not in self._read:
            if len(self._read) > MAX_READ:
                self._read.clear()
            self._read[data] = _worker(data)
        return self._read[data]

    async def progress(self, job_ids: Sequence[str]) -> dict[str, Progress]:
        """Latest progress of those jobs that report any."""
        if not job_ids:
            return {}
        with _translated():
            async with asyncio.timeout(QUICK_S):
                values = await self.redis.mget([self.keys.progress(job_id) for job_id in job_ids])
        found = {}
        for job_id, value in zip(job_ids, values, strict=True):
            if value is not None:
                with contextlib.suppress(ValidationError):  # a newer worker's; the bar stays where it is
                    found[job_id] = Progress.model_validate_json(value)
        return found

    async def read_events(self, after: str, *, count: int, block_ms: int) -> list[StreamEntry]:
        """Entries after an id, waiting at most `block_ms` for the first."""
        with _translated():
            streams = await self.redis.xread({self.keys.events: after}, count=count, block=block_ms)
        if not streams:
            return []
        entries = streams[0][1] if isinstance(streams, list) else next(iter(streams.values()))[0]
        return [StreamEntry(entry_id.decode(), fields.get(b"event")) for entry_id, fields in entries]

    async def server(self) -> tuple[Mapping[str, Any], float]:
        """What Redis says of itself, and its clock (unix seconds)."""
        with _translated():
            info = await self.redis.info()
            seconds, microseconds = await self.redis.time()
        return info, seconds + microseconds / 1e6

    async def last_event(self) -> str | None:
        """Id of the newest entry ever added; None when there is no stream."""
        with _translated():
            try:
                info = await self.redis.xinfo_stream(self.keys.events)
            except ResponseError:  # no such key
                return None
        return cast("bytes", info["last-generated-id"]).decode()


@asynccontextmanager
async def open_queue(url: str, keys: wire.Keys) -> AsyncIterator[JobQueue]:
    """Connect on first use; Redis need not be there yet."""
    # one quick retry bridges a connection that a restarted Redis had closed
    options: dict[str, Any] = {} if url.startswith("unix:") else {"socket_keepalive": True}
    if url.startswith("rediss:"):
        options["ssl_check_hostname"] = True  # redis-py's default accepts any certificate of a known authority
    pool = ConnectionPool.from_url(
        url,
        socket_timeout=3.0,
        socket_connect_timeout=1.0,
        health_check_interval=15,
        retry=Retry(ExponentialBackoff(cap=0.1, base=0.02), 2),
        retry_on_error=[RedisConnectionError, RedisTimeoutError, BusyLoadingError, OSError],
        redis_connect_func=_greet,
        **options,
    )
    redis = ArqRedis(pool, job_serializer=wire.dumps, job_deserializer=wire.loads)
    queue = JobQueue(redis, keys)
    try:
        yield queue
    finally:
        await redis.aclose()
        await pool.aclose()


async def _greet(connection: AbstractConnection) -> None:
    """Log in.

    A new connection is not asked about its health: redis-py 5 would connect anew from within, again and again and ever deeper, when a
    proxy accepts connections for a Redis that is gone.
    """
    connection.next_health_check = asyncio.get_running_loop().time() + connection.health_check_interval
    await connection.on_connect()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except AuthenticationError as error:
        raise QueueUnavailableError(f"Redis refuses the bot: {error}") from error
    except (RedisError, OSError, TimeoutError) as error:
        raise QueueUnavailableError(f"Redis does not answer: {error}") from error


def _mentions(event: bytes, job_ids: frozenset[str]) -> bool:
    return any(found.decode() in job_ids for found in _ULID.findall(event))


def _worker(data: bytes) -> WorkerStatus | None:
    try:
        announced = json.loads(data)
        # a newer worker says more than we know; what we know is enough to give it work
        return WorkerStatus.model_validate({name: announced[name] for name in WorkerStatus.model_fields if name in announced})
    except (ValueError, TypeError):  # pydantic's and json's errors are ValueErrors
        logger.warning("a worker announces something this bot cannot read; is it newer?")
        return None
