"""A fleet under attack: bot, three workers, Valkey, an S3 server and a loopback Discord as real processes, and one who breaks them.

Everything follows from a seed: what people want, and which accident happens when. What must be true afterwards is in
tests/integration/fleet/test_chaos.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from bot.sandbox.server import LoopbackDiscord
from engine.contracts import wire
from engine.contracts.events import EVENT_ADAPTER, JobStarted
from tests.support import small_disk
from tests.support.media import write_clip
from tests.support.object_server import BUCKET, environment
from tests.support.severed import SeverableWay
from tests.support.valkey import Valkey
from tests.support.workers import ROOT, WorkerProcess, eventually

logger = logging.getLogger(__name__)

WORKERS = ("w1", "w2", "w3")
FIRST_INTERACTION = 7_000_000
LEASE_S = 3.0
FULL = ("No space left on device", "the disk is full")
READY_S = 300.0  # a bot that starts on a busy machine
STALLED_S = 240.0
WORKER = (sys.executable, "-m", "worker")
SENDING = "POST /channels/{id}/messages"


@dataclass(frozen=True)
class Wish:
    """What somebody wants, and what has to become of it."""

    number: int
    kind: str
    words: str
    user: int
    premium: bool
    cancel: bool
    fails: bool
    pause_s: float

    @property
    def interaction(self) -> int:
        """The id of the press."""
        return FIRST_INTERACTION + self.number

    def line(self, guild: int, channel: int) -> str:
        """For the bot's file."""
        return json.dumps(self.__dict__ | {"interaction": self.interaction, "guild": guild, "channel": channel})


def wishes(seed: int, count: int) -> list[Wish]:
    """Clips and trainings of many people, some premium; a few poison, a few cancelled."""
    chance, found = random.Random(seed), []
    for number in range(count):
        training = number % 8 == 3
        user = 100 + (2 * chance.randrange(4) if training else chance.randrange(8))  # those with an even number are premium
        poison = not training and number % 20 == 12
        once = not training and number % 20 == 16
        words = f"exact-{number}" if training else "die" if poison else "die-once" if once else f"clip {number}"
        cancel = number % 15 == 14
        found.append(Wish(number, "train" if training else "generate", words, user, user % 2 == 0, cancel, poison, chance.random() * 0.8))
    return found


@dataclass(frozen=True)
class Kill:
    """A whole worker was killed while it ran these jobs (id -> attempt)."""

    at: float
    worker: str
    running: dict[str, int]


@dataclass
class Fleet:
    """All processes of one run, by the hand that breaks them."""

    folder: Path
    discord: LoopbackDiscord
    valkey: Valkey
    way: SeverableWay
    object_server: str
    plan: Path
    accidents: Counter[str] = field(default_factory=Counter)
    workers: dict[str, WorkerProcess] = field(default_factory=dict)
    bot: asyncio.subprocess.Process | None = None
    lives: int = 0
    kills: list[Kill] = field(default_factory=list)

    @property
    def database(self) -> Path:
        """The bot's SQLite file."""
        return self.folder / "bot" / "callsheet.sqlite3"

    @property
    def redis_url(self) -> str:
        """Redis, by the way that can be cut."""
        return f"redis://127.0.0.1:{self.way.port}/0"

    @property
    def store_url(self) -> str:
        """The bucket."""
        return f"s3://{BUCKET}/{self.folder.name}"

    def _environment(self, **more: str) -> dict[str, str]:
        ours = {key: value for key, value in os.environ.items() if not key.startswith(("CALLSHEET_", "AWS_"))}
        shared = {"CALLSHEET_STORE_URL": self.store_url, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "REDIS_URL": self.redis_url}
        return {**ours, **environment(self.object_server), **shared, **more}

    async def start_bot(self) -> None:
        """Start the bot with its people."""
        settings = {
            "DISCORD_TOKEN": self.discord.token,
            "CALLSHEET_DATA_DIR": str(self.folder / "bot"),
            "CALLSHEET_DISCORD_ENDPOINT": self.discord.endpoint,
            "CALLSHEET_DISCORD_CA_FILE": str(self.discord.ca_file),
            "CALLSHEET_WEB_PORT": "0",
            "CALLSHEET_DAILY_UNITS": "100000000",
            "CALLSHEET_FREE_DAILY_UNITS": "100000000",
            "CALLSHEET_MAX_OPEN_JOBS": "10000",
            "CALLSHEET_DEFAULT_PLAN": "free",
            "CALLSHEET_TERMS_REQUIRED": "false",
            "CALLSHEET_SCREENING": os.environ.get("CHAOS_SCREENING", "true"),
            "CALLSHEET_TRAINING_STEPS": "60",
            "CALLSHEET_DISPATCH_INTERVAL_S": "0.05",
            "CALLSHEET_RECONCILE_INTERVAL_S": "1",
            "CALLSHEET_GARBAGE_INTERVAL_S": "2",
            "CALLSHEET_GARBAGE_GRACE_S": "3",
            "CHAOS_PLAN": str(self.plan),
        }
        self.lives += 1
        with (self.folder / f"bot-{self.lives}.log").open("wb") as log:
            self.bot = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.support.chaos_bot"),
                cwd=ROOT,
                env=self._environment(**settings),
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
            )

    async def start_worker(self, name: str, command: Sequence[str] = WORKER, **more: str) -> None:
        """Start one worker."""
        env = {
            **environment(self.object_server),
            "CALLSHEET_STORE_URL": self.store_url,
            "CALLSHEET_REDIS_URL": self.redis_url,
            "CALLSHEET_LEASE_S": str(LEASE_S),
            "CALLSHEET_CHECKPOINT_EVERY_STEPS": "10",
            "CALLSHEET_MAX_ATTEMPTS": "6",
            "FAKE_CLIP": str(self.folder / "clip.mp4"),
            "PYTHONPATH": str(ROOT),
            **more,
        }
        self.workers[name] = await WorkerProcess.start(self.folder, self.valkey, name, command=command, **env)

    async def start(self, wanted: Sequence[Wish]) -> None:
        """Start everything, with people who want this."""
        channel = self.discord.channel("general")
        self.plan.write_text("\n".join(wish.line(self.discord.guild.id, channel.id) for wish in wanted))
        await asyncio.to_thread(write_clip, self.folder / "clip.mp4")
        for name in WORKERS:
            await self.start_worker(name)
        await self.start_bot()
        await self.discord.ready(READY_S)

    async def close(self) -> None:
        """End whatever runs."""
        processes = [worker.process for worker in self.workers.values()] + ([self.bot] if self.bot else [])
        for process in processes:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
                    process.kill()
                await process.wait()

    # ---- accidents --------------------------------------------------------------------------------------------------------------------

    async def kill_worker(self, chance: random.Random) -> None:
        """SIGKILL, and a new process under the same name a little later."""
        name = chance.choice(WORKERS)
        running = self.rows("SELECT job_id, attempt FROM jobs WHERE status = 'running' AND worker_id = ?", name)
        self.kills.append(Kill(time.time(), name, {row["job_id"]: row["attempt"] for row in running}))
        self.workers[name].kill()
        await self.workers[name].exited()
        await asyncio.sleep(chance.random() * 2 * LEASE_S)
        await self.start_worker(name)

    async def stop_worker(self, chance: random.Random) -> None:
        """A deploy."""
        name = chance.choice(WORKERS)
        assert await self.workers[name].stop() in (0, -signal.SIGTERM)  # the latter before Python got to its handlers
        await self.start_worker(name)

    async def freeze_worker(self, chance: random.Random) -> None:
        """SIGSTOP until its leases are long lost."""
        worker = self.workers[chance.choice(WORKERS)]
        worker.signal(signal.SIGSTOP)
        await asyncio.sleep(2 * LEASE_S)
        worker.signal(signal.SIGCONT)

    async def kill_child(self, chance: random.Random) -> None:
        """SIGKILL of a GPU child: out of memory, a driver."""
        with contextlib.suppress(TimeoutError, ProcessLookupError):
            os.kill(await self.workers[chance.choice(WORKERS)].child_pid(within_s=5), signal.SIGKILL)

    async def fill_disk(self, chance: random.Random) -> None:
        """A worker's disk is full until it has noticed, or has run into it."""
        name = chance.choice(WORKERS)
        await self.workers[name].stop()
        if not small_disk.possible():
            self.accidents["full disks made up"] += 1
            await self.start_worker(name, (sys.executable, "-m", "tests.support.full_disk_worker"))
            return
        scratch = self.folder / "scratch"
        await self.start_worker(name, small_disk.worker_command(scratch), CALLSHEET_LEAST_FREE_BYTES=chance.choice(["0", "0", str(2**20)]))
        worker = self.workers[name]
        disk = small_disk.SmallDisk(worker.process.pid, scratch)
        await eventually(lambda: disk.there)
        await asyncio.to_thread(disk.fill)
        with contextlib.suppress(TimeoutError):  # all jobs may have been asked for by now
            await eventually(lambda: any(word in worker.log.read_text() for word in FULL), within_s=20 * LEASE_S)
        disk.free()
        log = worker.log.read_text()
        self.accidents["writes to a full disk"] += log.count(FULL[0])
        self.accidents["jobs left alone for want of room"] += log.count(FULL[1])

    async def kill_bot(self, chance: random.Random) -> None:
        """SIGKILL, and a start a little later."""
        assert self.bot is not None
        self.bot.kill()
        await self.bot.wait()
        await asyncio.sleep(chance.random() * 2)
        await self.start_bot()

    async def restart_valkey(self, chance: random.Random) -> None:
        """SIGKILL; back with what its append-only file has."""
        self.valkey.kill()
        await asyncio.sleep(chance.random() * 2 * LEASE_S)
        await asyncio.to_thread(self.valkey.start)

    async def cut_sockets(self, _: random.Random) -> None:
        """Every connection to Redis breaks."""
        self.way.cut()

    async def discord_fails(self, chance: random.Random) -> None:
        """The next few posts are refused, lost, or made and never confirmed."""
        status = chance.choice([429, 500, 502, 0])
        self.discord.fault(SENDING, status=status, when=chance.choice(["before", "after"]) if status != 429 else "before", times=2)

    @property
    def _deck(self) -> list[Callable[[random.Random], Awaitable[None]]]:
        often = [self.kill_worker, self.kill_bot, self.discord_fails, self.cut_sockets]
        once = [self.stop_worker, self.freeze_worker, self.kill_child, self.fill_disk, self.restart_valkey]
        return [*often, *often, *once]

    async def torment(self, seed: int, rounds: int) -> None:
        """Accidents of every kind, one after the other, `rounds` times in another order."""
        chance = random.Random(seed)
        for _ in range(rounds):
            deck = self._deck
            chance.shuffle(deck)
            for accident in deck:
                await asyncio.sleep(0.5 + chance.random())
                name = getattr(accident, "__name__", "?")
                logger.info("accident: %s", name)
                await accident(chance)
                self.accidents[name] += 1
                self.check_bot()

    def check_bot(self) -> None:
        """The bot must not end by itself."""
        if self.bot is not None and self.bot.returncode is not None:
            log = (self.folder / f"bot-{self.lives}.log").read_text(errors="replace")
            raise AssertionError(f"the bot ended with {self.bot.returncode}:\n{log[-3000:]}")

    async def recoveries(self) -> list[float]:
        """Seconds from the SIGKILL of a whole worker to the next start of each job it ran, whoever made it."""
        starts: dict[str, list[JobStarted]] = {}
        async with Redis.from_url(self.valkey.url) as redis:
            for _, fields in await redis.xrange(wire.Keys().events):
                event = EVENT_ADAPTER.validate_json(fields[b"event"])
                if isinstance(event, JobStarted):
                    starts.setdefault(event.job_id, []).append(event)
        found = []
        for kill in self.kills:
            for job_id, attempt in kill.running.items():
                again = [event.at for event in starts.get(job_id, ()) if event.attempt > attempt and event.at > kill.at]
                found += [min(again) - kill.at] if again else []
        return found

    # ---- what the bot wrote down ------------------------------------------------------------------------------------------------------

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """A question to the bot's database; nothing while there is none."""
        if not self.database.is_file():
            return []
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            try:
                return [dict(row) for row in connection.execute(query, values)]
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise

    async def settled(self, count: int, stalled_s: float = STALLED_S) -> float:
        """Wait until all jobs have ended and all posts are made; seconds it took. However slow the machine: something has to happen."""
        began = changed = time.monotonic()
        before: list[dict[str, Any]] = []
        while True:
            seen = self.rows(
                """SELECT count(*) AS asked, coalesce(sum(finished_at IS NOT NULL), 0) AS ended, sum(attempt + steps_done) AS work,
                (SELECT count(*) FROM outbox WHERE state = 'pending') AS posts FROM jobs"""
            )
            if seen and (seen[0]["ended"], seen[0]["posts"]) == (count, 0):
                return time.monotonic() - began
            self.check_bot()
            if seen != before:
                before, changed = seen, time.monotonic()
            if time.monotonic() - changed > stalled_s:
                left = self.rows("SELECT job_id, kind, status, attempt, losses, worker_id FROM jobs WHERE finished_at IS NULL")
                raise AssertionError(f"nothing has happened for {stalled_s:.0f} s: {seen}, open: {left[:10]}")
            await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def open_fleet(folder: Path, object_server: str, *, durable: bool = True) -> AsyncIterator[Fleet]:
    """Everything, not started yet; what runs at the end is ended. `durable`: Valkey keeps its data over a SIGKILL."""
    valkey = Valkey(folder / "valkey", append_only=durable)
    try:
        async with LoopbackDiscord() as discord, SeverableWay(valkey.port) as way:
            home = folder / "fleet"
            home.mkdir()
            fleet = Fleet(home, discord, valkey, way, object_server, home / "plan.jsonl")
            try:
                yield fleet
            finally:
                await fleet.close()
    finally:
        valkey.close()
