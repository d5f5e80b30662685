"""The real processes of a run, under the product's own supervisor: Valkey, `python -m worker`, `python -m bot` on a loopback Discord."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import redis.asyncio as redis
from pydantic import ValidationError

from bot.config import BotSettings
from bot.one_machine import bot_spec, free_port, valkey_spec, worker_spec
from bot.sandbox.errors import SandboxError, ScenarioError
from bot.sandbox.server import LoopbackDiscord
from bot.supervisor import ProcessSpec, Supervisor
from engine.contracts.status import WorkerState, WorkerStatus

WORKER_READY_S = 180.0
BOT_READY_S = 60.0
ROOT = Path(__file__).resolve().parents[2]
_OURS = ("CALLSHEET_", "DISCORD_TOKEN", "REDIS_URL")
_QUIET = {"card_edit_interval_s": 1.0, "worker_id": "sandbox"}

Name = Literal["valkey", "worker", "bot"]


class ProcessDiedError(SandboxError):
    """A process ended by itself; the message names its log."""


class Stack:
    """Redis, worker and bot of one run, as an async context manager that stops everything.

    `folder` gets `data/` (database, object store, worker), `logs/` and the clock file; `settings` are settings of bot and worker by name.

    Raises:
        ScenarioError: a setting has a value the bot does not take.
    """

    def __init__(self, discord: LoopbackDiscord, folder: Path, offset_file: Path, settings: Mapping[str, Any]) -> None:
        self._discord = discord
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        data = folder / "data"
        data.mkdir(exist_ok=True)
        ours: dict[str, Any] = {
            **_QUIET,
            **settings,
            "data_dir": str(data),
            "discord_endpoint": discord.endpoint,
            "discord_ca_file": str(discord.ca_file),
            "clock_offset_file": str(offset_file),
            "web_port": 0,
        }
        try:
            self._settings = BotSettings(**ours)
        except ValidationError as error:
            raise ScenarioError("\n".join(f"settings.{e['loc'][0]}: {e['msg']}" for e in error.errors())) from None
        env = {f"CALLSHEET_{key.upper()}": value if isinstance(value, str) else json.dumps(value) for key, value in ours.items()}
        env |= {"DISCORD_TOKEN": discord.token, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
        valkey, self._redis_url = valkey_spec(
            folder / "valkey", free_port(), password=secrets.token_urlsafe(16), log_file=self.logs / "valkey.log"
        )
        specs = [
            valkey,
            worker_spec(self._settings, self._redis_url, env=env, log_file=self.logs / "worker.log"),
            bot_spec(self._settings, self._redis_url, env=env, log_file=self.logs / "bot.log"),
        ]
        env |= {"REDIS_URL": self._redis_url}
        self._supervisor = Supervisor([_without_strangers(spec, env) for spec in specs])
        self._expected_starts = {"valkey": 0, "worker": 0, "bot": 0}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await asyncio.shield(self._supervisor.stop_all())

    @property
    def database(self) -> Path:
        """The bot's SQLite file."""
        return self._settings.database_path

    @property
    def store(self) -> Path:
        """The object store's folder."""
        return self._settings.data_dir / "store"

    async def start(self) -> None:
        """Start all three and wait until people can use the bot.

        Raises:
            TimeoutError: worker or bot was not ready in time.
            ProcessDiedError: one ended.
        """
        for name in self._expected_starts:
            await self.up(name)
        await asyncio.gather(self.worker_ready(), self.bot_ready())

    async def up(self, name: str) -> None:
        """Start one process that is down."""
        self._expected_starts[name] += 1
        await self._supervisor.start(name)

    async def stop(self, name: str) -> int | None:
        """SIGTERM; its exit code."""
        return await self._supervisor.stop(name)

    async def kill(self, name: str) -> int | None:
        """SIGKILL; its exit code."""
        return await self._supervisor.kill(name)

    def check(self) -> None:
        """Look whether everything is as the scenario left it.

        Raises:
            ProcessDiedError: a process ended by itself, told once per end; the supervisor has started it again.
        """
        for name, expected in self._expected_starts.items():
            if self._supervisor.starts(name) > expected:
                self._expected_starts[name] = self._supervisor.starts(name)
                log = self.logs / f"{name}.log"
                lines = log.read_text(errors="replace").strip().splitlines()
                raise ProcessDiedError(f"{name} ended by itself: {lines[-1][:300] if lines else 'no output'} (see {log})")

    async def bot_ready(self, timeout_s: float = BOT_READY_S) -> None:
        """Wait until the bot is connected and its commands are known.

        Raises:
            TimeoutError: it is not.
            ProcessDiedError: it ended.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            self.check()
            with contextlib.suppress(TimeoutError):
                await self._discord.ready(0.5)
                return
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"the bot was not ready within {timeout_s:g} s, see {self.logs / 'bot.log'}")

    async def worker_ready(self, timeout_s: float = WORKER_READY_S) -> None:
        """Wait until a live worker announces itself as ready.

        Raises:
            TimeoutError: none does.
            ProcessDiedError: it ended.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        async with redis.Redis.from_url(self._redis_url) as client:
            while not await self._ready_workers(client):
                self.check()
                if asyncio.get_running_loop().time() > deadline:
                    raise TimeoutError(f"no worker was ready within {timeout_s:g} s, see {self.logs / 'worker.log'}")
                await asyncio.sleep(0.2)

    async def _ready_workers(self, client: redis.Redis) -> list[str]:
        keys = self._settings.keys
        announced: dict[bytes, bytes] = await client.hgetall(keys.workers)  # type: ignore[misc]  # redis types it as either sync or async
        ready = []
        for name, status in announced.items():
            state = WorkerStatus.model_validate_json(status).state
            if state is WorkerState.READY and await client.exists(keys.worker_alive(name.decode())):
                ready.append(name.decode())
        return ready


def _without_strangers(spec: ProcessSpec, ours: Mapping[str, str]) -> ProcessSpec:
    """The process without settings that happen to be in this shell's environment."""
    own = {"CALLSHEET_STORE_URL", "CALLSHEET_BASE", "CALLSHEET_KEY_PREFIX", "CALLSHEET_SCRATCH_DIR"}
    own |= {"CALLSHEET_DATA_DIR", "CALLSHEET_CREDENTIALS_DIR"}
    env = {key: value for key, value in spec.env.items() if key in ours or key in own or not key.startswith(_OURS)}
    return dataclasses.replace(spec, env=env)
