"""The worker's announcement of itself: a status for `/health` and dispatching, and a key that lapses when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from engine.contracts import wire
from engine.contracts.status import Lane, WorkerState, WorkerStatus
from worker.connection import OUTAGE
from worker.files import Scratch
from worker.gpu_worker import GpuWorker
from worker.lease import LeaseBook
from worker.runner import Runner

logger = logging.getLogger(__name__)

ALIVE_EXPIRES_S = 10


class WorkerIdInUseError(Exception):
    """Another host announces itself under our worker id."""


class Heartbeat:
    """Announces one worker process every `every_s`, and takes the announcement back on a clean exit."""

    def __init__(
        self,
        *,
        book: LeaseBook,
        base: str,
        serves: tuple[str, ...],
        runner: Runner,
        scratch: Scratch,
        lanes: Sequence[GpuWorker],
        draining: Callable[[], bool],
        every_s: float,
    ) -> None:
        self._book = book
        self._base = base
        self._serves = serves
        self._runner = runner
        self._scratch = scratch
        self._lanes = tuple(lanes)
        self._draining = draining
        self._every_s = every_s
        self._started_at = time.time()
        self._identity = f"{socket.gethostname()}:{os.getpid()}"
        self._alive_key = book.keys.worker_alive(book.worker_id)

    def status(self) -> WorkerStatus:
        """The worker as it is now."""
        busy: dict[Lane, str] = {}
        for lane in self._lanes:
            if lane.busy_with is not None:
                busy[lane.lane] = lane.busy_with
        return WorkerStatus(
            worker_id=self._book.worker_id,
            state=self._state,
            base=self._base,
            lanes=tuple(lane.lane for lane in self._lanes),
            busy=busy,
            contract_version=wire.CONTRACT_VERSION,
            device=self._runner.device,
            started_at=self._started_at,
            serves=self._serves,
            memory_bytes=self._runner.memory_bytes,
        )

    @property
    def _state(self) -> WorkerState:
        if self._draining():
            return WorkerState.DRAINING
        if self._runner.ready and not self._scratch.has_room:
            return WorkerState.BROKEN  # its disk is full
        return self._runner.state

    async def check_id_is_free(self) -> None:
        """Make sure that no live worker on another host has our id; one on this host would hold the scratch lock.

        Raises:
            WorkerIdInUseError: It is still announced after its key should have lapsed.
        """
        deadline = time.monotonic() + ALIVE_EXPIRES_S + 2
        while True:
            holder = await self._book.redis.get(self._alive_key)
            if holder is None or holder.decode().rpartition(":")[0] == socket.gethostname():
                return
            if time.monotonic() > deadline:
                raise WorkerIdInUseError(
                    f"Worker id {self._book.worker_id!r} is in use on {holder.decode()}: give this one another CALLSHEET_WORKER_ID."
                )
            await asyncio.sleep(0.5)

    async def run(self) -> None:
        """Announce at once, then every `every_s` and whenever the child's state changes, until cancelled."""
        try:
            while True:
                self._runner.changed.clear()
                try:
                    await self.beat()
                except OUTAGE as error:
                    logger.warning("heartbeat not sent: %s", error)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._every_s):
                        await self._runner.changed.wait()
        finally:
            await asyncio.shield(self._withdraw())

    async def beat(self) -> None:
        """Announce once, and hear whether somebody was forgotten."""
        redis, book = self._book.redis, self._book
        status = self.status().model_dump_json()
        await book.watched(cast("Awaitable[int]", redis.hset(book.keys.workers, book.worker_id, status)))
        await book.watched(redis.set(self._alive_key, self._identity, ex=ALIVE_EXPIRES_S))
        forgotten = await book.watched(redis.get(book.keys.forgotten))
        if forgotten is not None:
            self._scratch.obey(forgotten.decode())

    async def _withdraw(self) -> None:
        with contextlib.suppress(TimeoutError, *OUTAGE):
            async with asyncio.timeout(2):
                await self._book.redis.delete(self._alive_key)
                await cast("Awaitable[int]", self._book.redis.hdel(self._book.keys.workers, self._book.worker_id))
