"""How long does the database take, at the size of a large community?

10,000 LoRAs, 100,000 jobs (1,050 of them open) and 1,000 members in one SQLite file; every command's questions, asked through its services.
`python tests/bench/bench_database.py [rounds]`. The promise is p99 of at most 20 ms per command on two cores.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import aiosqlite

from bot.queue import open_queue
from tests.support.bot_core import PlayedWorker, open_core
from tests.support.crowd import Operation, Size, background, fill, operations
from tests.support.valkey import Valkey

PROMISE_MS = 20.0


class Stopwatch:
    """Adds up the time spent waiting for SQLite: its thread, and the way there and back."""

    def __init__(self) -> None:
        self.spent = 0.0
        self.calls = 0

    @contextmanager
    def on(self) -> Iterator[None]:
        """Listen to every connection for the length of the block."""
        execute = aiosqlite.Connection._execute

        async def timed(connection: aiosqlite.Connection, *args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return await execute(connection, *args, **kwargs)
            finally:
                self.spent += time.perf_counter() - began
                self.calls += 1

        aiosqlite.Connection._execute = timed  # type: ignore[method-assign]
        try:
            yield
        finally:
            aiosqlite.Connection._execute = execute  # type: ignore[method-assign]


async def measure(rounds: int, size: Size) -> bool:
    """Fill, ask, print; True when every command keeps the promise."""
    folder = Path(tempfile.mkdtemp())
    kept = True
    settings: dict[str, Any] = {"premium_skus": "1", "free_daily_units": 10**6, "daily_units": 10**6, "max_open_jobs": 10**6}
    valkey = Valkey(folder / "valkey")
    url = valkey.url
    async with open_core(folder / "bot", url, **settings) as core, open_queue(url, core.settings.keys) as other:
        await PlayedWorker(other.redis).announce(3600)
        await core.queue.workers()
        began = time.perf_counter()
        crowd = await fill(core.database, size)
        megabytes = core.settings.database_path.stat().st_size / 2**20
        print(f"{size} in {time.perf_counter() - began:.0f} s, {megabytes:.0f} MB\n")
        print(f"{'':32}{'p50 ms':>9}{'p99 ms':>9}{'worst':>9}{'calls':>7}")
        for name, operation in {**operations(), **background()}.items():
            task = name in background()
            figures, calls = await _samples(core, crowd, operation, rounds // 10 if task else rounds)
            p99 = figures[min(len(figures) - 1, int(len(figures) * 0.99))]
            late = p99 > PROMISE_MS and not task
            kept = kept and not late
            mark = " (background)" if task else " <- too slow" if late else ""
            print(f"{name:32}{statistics.median(figures):9.2f}{p99:9.2f}{figures[-1]:9.2f}{calls:7.0f}{mark}")
    valkey.close()
    return kept


async def _samples(core: Any, crowd: Any, operation: Operation, rounds: int) -> tuple[list[float], float]:
    """Sorted milliseconds of `rounds` runs after one to warm up, and the mean number of calls."""
    figures, calls = [], 0
    await operation(core, crowd)
    for _ in range(max(3, rounds)):
        watch = Stopwatch()
        with watch.on():
            await operation(core, crowd)
        figures.append(watch.spent * 1000)
        calls += watch.calls
    return sorted(figures), calls / len(figures)


if __name__ == "__main__":
    promise_kept = asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 200, Size()))
    print("\nevery command within the promise" if promise_kept else "\nthe promise is broken")
