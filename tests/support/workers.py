"""Real worker processes (`python -m worker`) for tests, and what a bot would do with them: enqueue, cancel, read events."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Self

import pytest
from arq.connections import ArqRedis
from PIL import Image
from ulid import ULID

from engine.contracts import wire
from engine.contracts.events import EVENT_ADAPTER, Event, JobCancelled, JobFailed, JobSucceeded
from engine.contracts.jobs import GenerateVideo, TrainLora, lane_of
from engine.contracts.model import StoredObject
from engine.contracts.status import WorkerState, WorkerStatus
from engine.contracts.versions import encode, version_needed
from engine.store import ObjectStore
from tests.support.valkey import Valkey
from worker.connection import open_redis

ROOT = Path(__file__).parents[2]
FAKE_CHILD = json.dumps([sys.executable, "-m", "tests.support.fake_child"])
KEYS = wire.Keys()
QUICK = {
    "CALLSHEET_LEASE_S": "3",
    "CALLSHEET_POLL_S": "0.02",
    "CALLSHEET_CANCEL_POLL_S": "0.05",
    "CALLSHEET_HEARTBEAT_S": "0.2",
    "CALLSHEET_RETRY_DELAY_S": "0.05",
    "CALLSHEET_DRAIN_GRACE_S": "10",
}


def new_job_id() -> str:
    """A job id never used before."""
    return str(ULID())


class WorkerProcess:
    """One `python -m worker`; its log lies beside its scratch folder."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self.log = log

    @classmethod
    async def start(
        cls,
        folder: Path,
        valkey: Valkey,
        name: str = "w1",
        *,
        child: str | None = FAKE_CHILD,
        command: Sequence[str] = (sys.executable, "-m", "worker"),
        **env: str,
    ) -> Self:
        """Start a worker with quick leases; `env` overrides any variable. With `child=None` the real child runs."""
        settings = {
            **{key: value for key, value in os.environ.items() if not key.startswith("CALLSHEET_")},
            "CALLSHEET_REDIS_URL": valkey.url,
            "CALLSHEET_STORE_URL": (folder / "store").as_uri(),
            "CALLSHEET_SCRATCH_DIR": str(folder / "scratch"),
            "CALLSHEET_CREDENTIALS_DIR": str(folder / "credentials"),
            "CALLSHEET_WORKER_ID": name,
            "FAKE_MARKERS": str(folder),
            "OMP_NUM_THREADS": "1",
            **QUICK,
            **({"CALLSHEET_CHILD_COMMAND": child} if child else {}),
            **env,
        }
        log = folder / f"{name}-{os.urandom(3).hex()}.log"
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, env=settings, stdout=stderr, stderr=asyncio.subprocess.STDOUT
            )
        return cls(process, log)

    def kill(self) -> None:
        """SIGKILL the parent, and nothing else."""
        self.process.send_signal(signal.SIGKILL)

    def signal(self, signum: signal.Signals) -> None:
        """Send any signal to the parent."""
        self.process.send_signal(signum)

    async def stop(self, within_s: float = 60) -> int:
        """SIGTERM; returns the exit code."""
        self.process.terminate()
        return await self.exited(within_s)

    async def exited(self, within_s: float = 60) -> int:
        """Wait for the end; returns the exit code."""
        async with asyncio.timeout(within_s):
            return await self.process.wait()

    async def child_pid(self, within_s: float = 60, other_than: int | None = None) -> int:
        """Process id of the GPU child, once there is one."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")

        def found() -> int | None:
            pids = [int(pid) for pid in children.read_text().split()]
            return next((pid for pid in pids if pid != other_than), None)

        pid = await eventually(found, within_s)
        assert pid is not None
        return pid


async def eventually(probe: Callable[[], Any], within_s: float = 60) -> Any:
    """The first truthy answer of `probe`, sync or async."""
    async with asyncio.timeout(within_s):
        while True:
            answer = probe()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return answer
            await asyncio.sleep(0.01)


class Studio:
    """The bot's side of Redis and the store, for one test."""

    def __init__(self, folder: Path, valkey: Valkey) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.valkey = valkey
        self.redis: ArqRedis = open_redis(valkey.url)
        self.store = ObjectStore.open((folder / "store").as_uri())
        self.workers: list[WorkerProcess] = []
        self._cursor = "0"
        self._events: list[Event] = []

    async def worker(self, name: str = "w1", **env: Any) -> WorkerProcess:
        """Start a worker of this studio; it is ended with the test."""
        worker = await WorkerProcess.start(self.folder, self.valkey, name, **env)
        self.workers.append(worker)
        return worker

    async def close(self) -> None:
        """End whatever still runs."""
        for worker in self.workers:
            if worker.process.returncode is None:
                worker.signal(signal.SIGCONT)
                worker.kill()
                await worker.exited()
        await self.redis.aclose()

    async def announced(self, name: str, state: WorkerState = WorkerState.READY) -> WorkerStatus:
        """What a worker says of itself, once it says that it is in `state`."""

        async def said() -> WorkerStatus | None:
            raw = await self.redis.hget(KEYS.workers, name)
            status = None if raw is None else WorkerStatus.model_validate_json(raw)
            return status if status is not None and status.state is state else None

        status = await eventually(said, within_s=300)
        assert isinstance(status, WorkerStatus)
        return status

    async def put(self, key: str, text: str, media_type: str = "image/png") -> StoredObject:
        """Store a small object."""
        return await self.store.put_bytes(key, text.encode(), media_type)

    async def enqueue(self, job: TrainLora | GenerateVideo) -> str:
        """Hand a job to arq exactly as the bot's dispatcher does."""
        await self.redis.enqueue_job(
            wire.TASK,
            encode(job),
            _job_id=job.job_id,
            _queue_name=KEYS.queue(job.base, lane_of(job), version=version_needed(job)),
            _expires=wire.JOB_EXPIRES_S,
        )
        return job.job_id

    async def cancel(self, job_id: str) -> None:
        """Ask for a cancel as the bot does."""
        await self.redis.set(KEYS.cancel(job_id), b"1", ex=wire.CANCEL_EXPIRES_S)

    async def events(self, job_id: str) -> list[Event]:
        """Every event of a job so far, in stream order."""
        for entry_id, fields in await self.redis.xrange(KEYS.events, f"({self._cursor}" if self._cursor != "0" else "-"):
            self._cursor = entry_id.decode()
            self._events.append(EVENT_ADAPTER.validate_json(fields[b"event"]))
        return [event for event in self._events if event.job_id == job_id]

    async def event(self, job_id: str, kind: type[Event], within_s: float = 60, attempt: int | None = None) -> Any:
        """The first event of a kind, waited for."""

        async def found() -> Event | None:
            events = await self.events(job_id)
            return next((e for e in events if isinstance(e, kind) and (attempt is None or e.attempt == attempt)), None)

        return await eventually(found, within_s)

    async def ending(self, job_id: str, within_s: float = 90) -> Any:
        """The job's terminal event, waited for."""
        return await self.event(job_id, JobSucceeded | JobFailed | JobCancelled, within_s)  # type: ignore[arg-type]

    async def endings(self, job_id: str) -> list[Event]:
        """All terminal events of a job: there must be exactly one."""
        return [event for event in await self.events(job_id) if isinstance(event, JobSucceeded | JobFailed | JobCancelled)]

    async def progress_step(self, job_id: str) -> int:
        """The step the progress value shows, -1 before there is one."""
        value = await self.redis.get(KEYS.progress(job_id))
        return -1 if value is None else int(json.loads(value)["step"])


@pytest.fixture
async def studio(tmp_path: Path, valkey: Valkey) -> AsyncIterator[Studio]:
    """A studio without workers on a fresh Valkey."""
    studio = Studio(tmp_path / "studio", valkey)
    yield studio
    await studio.close()


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, ...]:
    """Four small pictures that differ."""
    paths = []
    for index in range(4):
        image = Image.new("RGB", (32, 32), (60 * index, 200 - 40 * index, 90))
        image.paste((250, 30, 30), (4 + 3 * index, 8, 14 + 3 * index, 20))
        paths.append(tmp_path / f"{index}.png")
        image.save(paths[-1])
    return tuple(paths)
