"""Everything of the bot below Discord, on a real SQLite file, a real Valkey and a local store; and a worker we play ourselves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix, job_key_prefix, result_key_prefix
from ulid import ULID

from bot.clock import Clock
from bot.config import BotSettings
from bot.dispatcher import Dispatcher
from bot.event_consumer import EventConsumer
from bot.queue import JobQueue, open_queue
from bot.services.app import Services
from bot.services.build import build_services
from bot.services.clip_requests import GenerationRequest
from bot.services.jobs import SubmittedJob
from bot.services.links import LinkSigner
from bot.services.values import Actor, IncomingFile, JobPlace
from bot.storage import jobs as jobs_table
from bot.storage.database import Database, open_database
from bot.storage.jobs import JobRecord
from engine.contracts import wire
from engine.contracts.events import Event, JobCancelled, JobFailed, JobStarted, JobSucceeded
from engine.contracts.failures import FailureCode
from engine.contracts.geometry import Geometry
from engine.contracts.jobs import WORK_ADAPTER, CaptionItems, GenerateVideo, TrainLora, Work, lane_of
from engine.contracts.results import ItemsCaptioned, LoraTrained, VideoRendered
from engine.contracts.status import SHARED, Lane, WorkerState, WorkerStatus
from engine.store import ObjectStore
from tests.support import contracts, hostile
from tests.support.database import NOW
from tests.support.valkey import Valkey

GUILD = 10
CHANNEL = 20


@dataclass
class ManualClock:
    """Stands still until told."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Core:
    """The bot without Discord."""

    settings: BotSettings
    clock: Any  # a ManualClock, unless another one was given
    database: Database
    queue: JobQueue
    store: ObjectStore
    services: Services
    dispatcher: Dispatcher
    consumer: EventConsumer
    folder: Path
    numbers: list[int] = field(default_factory=lambda: [0])

    def set(self, **settings: object) -> None:
        """Another configuration from now on; every service reads the same settings."""
        for name, value in settings.items():
            assert name in BotSettings.model_fields
            object.__setattr__(self.settings, name, value)

    def number(self) -> int:
        """A number nobody had yet."""
        self.numbers[0] += 1
        return self.numbers[0]

    async def generate(self, who: Actor | None = None, **changes: Any) -> SubmittedJob:
        """`/generate` by `maker`, or by `who`."""
        values: dict[str, Any] = {"prompt": "a lake", "place": place(), "interaction_id": 1000 + self.number()}
        return await self.services.clips.submit(GenerationRequest(actor=who or actor(), **(values | changes)))

    async def train(self, who: Actor | None = None, name: str = "zoko", pictures: int = 4) -> SubmittedJob:
        """`/train` with ordinary pictures, and the start button."""
        who = who or actor()
        kind = contracts.train_lora().lora_kind
        report = await self.services.datasets.open(who, name=name, kind=kind, trigger=name, files=self.pictures(pictures))
        return await self.services.jobs.submit_training(report.dataset.dataset_id, who, place(), 1000 + self.number())

    def pictures(self, count: int, start: int = 0) -> list[IncomingFile]:
        """Ordinary pictures as they arrive."""
        return [self.file(f"{number}.png", hostile.picture(number)) for number in range(start, start + count)]

    def file(self, filename: str, data: bytes) -> IncomingFile:
        """An upload on disk."""
        path = self.folder / f"incoming-{self.number()}"
        path.write_bytes(data)
        return IncomingFile(filename, path, len(data))

    async def record(self, job_id: str) -> JobRecord:
        """The row as it is now."""
        record = await jobs_table.get(self.database.reader, job_id)
        assert record is not None
        return record

    async def rows(self, table: str) -> list[Mapping[str, Any]]:
        """Everything in a table."""
        return [dict(row) for row in await self.database.reader.execute_fetchall(f"SELECT * FROM {table}")]

    async def consume(self) -> int:
        """Apply everything that is in the stream."""
        total = 0
        while count := await self.consumer.consume(1):
            total += count
        return total


def actor(user_id: int = 1, *, name: str = "maker", guild_id: int | None = GUILD, is_admin: bool = False) -> Actor:
    """Somebody in the test server."""
    return Actor(user_id=user_id, guild_id=guild_id, display_name=name, is_admin=is_admin)


def place(guild_id: int = GUILD) -> JobPlace:
    """Its only channel."""
    return JobPlace(guild_id=guild_id, channel_id=CHANNEL, max_bytes=10 * 2**20)


@asynccontextmanager
async def open_core(folder: Path, redis_url: str, *, clock: Clock | None = None, **changes: Any) -> AsyncIterator[Core]:
    """A bot core on `folder`; opened again on the same folder it is the same bot after a restart. `clock`: None stands still."""
    settings = BotSettings(data_dir=folder, **({"screening": False} | changes))  # a classifier per test would take seconds
    clock = clock or ManualClock()
    async with open_database(settings.database_path) as database, open_queue(redis_url, settings.keys) as queue:
        store = ObjectStore.open(settings.object_store_url)
        signer = LinkSigner(b"secret", "http://127.0.0.1:1", settings.link_expires_s, clock)
        services = build_services(settings, database, queue, store, signer, clock)
        dispatcher = Dispatcher(database, queue, services.jobs.outcomes, services.posts, services.jobs.line, clock, 0.01, 0.01)
        consumer = EventConsumer(database, queue, services.jobs.outcomes, services.posts)
        yield Core(settings, clock, database, queue, store, services, dispatcher, consumer, folder)


@pytest.fixture
async def core(tmp_path: Path, valkey: Valkey) -> AsyncIterator[Core]:
    """A bot core on an empty folder and an empty Valkey."""
    async with open_core(tmp_path / "bot", valkey.url) as opened:
        yield opened


@dataclass
class PlayedWorker:
    """A worker of the protocol only: heartbeats, leases, events and ends as `worker/` writes them, without a GPU."""

    redis: ArqRedis
    keys: wire.Keys = field(default_factory=wire.Keys)
    worker_id: str = "w1"
    base: str = "tiny"
    lanes: tuple[Lane, ...] = tuple(Lane)
    serves: tuple[str, ...] = (SHARED,)
    contract_version: int = wire.CONTRACT_VERSION
    memory_bytes: int | None = None
    seqs: dict[tuple[str, int], int] = field(default_factory=dict)

    async def announce(self, alive_s: int = 900, more: Mapping[str, Any] | None = None) -> None:
        """One heartbeat, with `more` than our version knows."""
        status = WorkerStatus(
            worker_id=self.worker_id,
            state=WorkerState.READY,
            base=self.base,
            lanes=self.lanes,
            busy={},
            contract_version=self.contract_version,
            device="cpu",
            started_at=NOW,
            serves=self.serves,
            memory_bytes=self.memory_bytes,
        )
        await self.redis.hset(self.keys.workers, self.worker_id, json.dumps(status.model_dump(mode="json") | dict(more or {})))
        await self.redis.set(self.keys.worker_alive(self.worker_id), b"1", ex=alive_s)

    async def vanish(self) -> None:
        """No heartbeat any more, and every lease lapsed."""
        await self.redis.delete(self.keys.worker_alive(self.worker_id))
        async for key in self.redis.scan_iter(match=in_progress_key_prefix + "*"):
            await self.redis.delete(key)

    async def waiting(self, lane: Lane) -> list[str]:
        """Ids in a lane's arq queue that nobody holds, in order."""
        queues = self.keys.queues(self.base, lane, self.serves, self.contract_version)
        ids = [item.decode() for queue in queues for item in await self.redis.zrange(queue, 0, -1)]
        return [job_id for job_id in ids if not await self.redis.exists(in_progress_key_prefix + job_id)]

    async def claim(self, lane: Lane) -> Any:
        """Hold the next job of a lane and say that it began."""
        job_id = (await self.waiting(lane))[0]
        await self.redis.set(in_progress_key_prefix + job_id, f"{self.worker_id}|x", ex=600)
        message = await self.redis.get(job_key_prefix + job_id)
        assert message is not None
        payload = wire.loads(message)
        attempt = int(await self.redis.hincrby(self.keys.tries(job_id), "attempt", 1))
        attempt = max(attempt, payload["t"] or 1)
        await self.redis.hset(self.keys.tries(job_id), "attempt", attempt)
        job = WORK_ADAPTER.validate_python(payload["a"][0])
        await self.emit(JobStarted, job_id, attempt, worker_id=self.worker_id, total_steps=16)
        return job

    async def emit(self, kind: type[Any], job_id: str, attempt: int = 1, seq: int | None = None, **fields: Any) -> Event:
        """Put an event on the stream; `seq` counts by itself."""
        if seq is None:
            seq = self.seqs.get((job_id, attempt), 0)
            self.seqs[job_id, attempt] = seq + 1
        event: Event = kind(job_id=job_id, attempt=attempt, seq=seq, at=NOW, **fields)
        await self.redis.xadd(self.keys.events, {"event": event.model_dump_json()})
        return event

    async def attempt(self, job_id: str) -> int:
        """The running attempt of a job."""
        return int(await self.redis.hget(self.keys.tries(job_id), "attempt") or 1)

    async def succeed(self, job: Work, result: LoraTrained | VideoRendered | ItemsCaptioned | None = None, **passport: Any) -> None:
        """End a claimed job with `result`, or with a plain one; `passport` changes the manifest of a trained LoRA, or a clip's file."""
        if result is None:
            assert not isinstance(job, CaptionItems)
            result = trained(job) if isinstance(job, TrainLora) else rendered(job)
        if isinstance(result, LoraTrained) and passport:
            result = result.model_copy(update={"manifest": result.manifest.model_copy(update=passport)})
        elif isinstance(result, VideoRendered) and passport:
            result = result.model_copy(update={"file": result.file.model_copy(update=passport)})
        await self._end(job, JobSucceeded, result=result)

    async def fail(self, job: Work, code: FailureCode = FailureCode.INTERNAL) -> None:
        """End a claimed job without one."""
        await self._end(job, JobFailed, code=code, detail="a traceback", steps_done=3)

    async def cancelled(self, job: Work, steps_done: int) -> None:
        """End a claimed job because somebody asked."""
        await self._end(job, JobCancelled, steps_done=steps_done)

    async def _end(self, job: Work, kind: type[Any], **fields: Any) -> None:
        await self.emit(kind, job.job_id, await self.attempt(job.job_id), **fields)
        for queue in self.keys.queues(self.base, lane_of(job), self.serves, self.contract_version):
            await self.redis.zrem(queue, job.job_id)
        await self.redis.delete(job_key_prefix + job.job_id, in_progress_key_prefix + job.job_id)
        await self.redis.set(result_key_prefix + job.job_id, json.dumps({}), ex=3600)


@pytest.fixture
async def played_worker(valkey: Valkey) -> AsyncIterator[PlayedWorker]:
    """A live worker with both lanes."""
    async with open_queue(valkey.url, wire.Keys()) as queue:
        worker = PlayedWorker(queue.redis)
        await worker.announce()
        yield worker


def rendered(job: GenerateVideo | None = None) -> VideoRendered:
    """The result of a clip."""
    job_id = job.job_id if job else str(ULID())
    return VideoRendered(
        file=contracts.stored(f"jobs/{job_id}/1/clip.mp4", "video/mp4"),
        poster=None,
        geometry=Geometry(width=32, height=32, num_frames=9, fps=8.0),
        posted_width=256,
        posted_height=256,
        seed=job.seed if job else 1,
        seconds=2.0,
    )


def trained(job: TrainLora) -> LoraTrained:
    """The result of a training."""
    return LoraTrained(
        lora_id=job.lora_id,
        file=contracts.stored(f"loras/{job.lora_id}/{job.job_id}.safetensors", "application/x-safetensors"),
        manifest=contracts.manifest(name=job.name),
        preview=None,
        poster=None,
        loss_curve=None,
        steps=job.steps,
        seconds=60.0,
    )
