"""A proxy whose Redis is gone: it accepts every connection and drops it at once, which is an outage like any other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bot.queue import QueueUnavailableError, open_queue
from engine.contracts import wire
from tests.support.object_server import free_port
from tests.support.severed import SeverableWay
from worker.connection import OUTAGE, open_redis

LONG_S = 120.0  # nobody waits so long; redis-py went on until its recursion was too deep


@pytest.fixture
async def dead_end() -> AsyncIterator[str]:
    """The URL of a way that leads nowhere."""
    async with SeverableWay(free_port()) as way:
        yield f"redis://127.0.0.1:{way.port}/0"


async def test_bot_calls_it_an_outage(dead_end: str) -> None:
    """Every time, and soon: somebody may be waiting."""
    async with open_queue(dead_end, wire.Keys()) as queue, asyncio.timeout(LONG_S):
        for _ in range(3):
            with pytest.raises(QueueUnavailableError):
                await queue.workers()


async def test_worker_calls_it_an_outage(dead_end: str) -> None:
    """It is ridden out as every outage is."""
    redis = open_redis(dead_end, retries=2)
    async with asyncio.timeout(LONG_S):
        with pytest.raises(OUTAGE):
            await redis.ping()
    await redis.aclose()
