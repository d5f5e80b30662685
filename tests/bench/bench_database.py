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
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from bot.queue import open_queue
from bot.storage.database import Database
from tests.support.bot_core import PlayedWorker, open_core
from tests.support.crowd import Operation, Size, background, fill, operations
from tests.support.valkey import Valkey

PROMISE_MS = 20.0


class Stopwatch:
    """Adds up what SQLite took: seconds waited for it (its thread, and the way there and back), and processor time of its threads.

    On a machine that does other things at the same time only the processor time says anything.
    """

    def __init__(self) -> None:
        self.waited = 0.0
        self.worked = 0.0
        self.calls = 0

    @contextmanager
    def on(self, database: Database) -> Iterator[None]:
        """Listen to both connections for the length of the block."""
        connections = (database.reader, database._writer)
        with ExitStack() as stack:
            for connection in connections:
                stack.enter_context(mock.patch.object(connection, "_execute", self._timed(connection._execute)))
            yield

    def _timed(self, execute: Any) -> Any:
        async def timed(function: Any, *args: Any, **kwargs: Any) -> Any:
            def worked(*values: Any, **named: Any) -> Any:
                began = time.thread_time()
                try:
                    return function(*values, **named)
                finally:
                    self.worked += time.thread_time() - began

            began = time.perf_counter()
            try:
                return await execute(worked, *args, **kwargs)
            finally:
                self.waited += time.perf_counter() - began
                self.calls += 1

        return timed


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
        await core.database._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        megabytes = core.settings.database_path.stat().st_size / 2**20
        print(f"{size} in {time.perf_counter() - began:.0f} s, {megabytes:.0f} MB\n")
        print(f"{'':32}{'waited: p50':>12}{'p99 ms':>9}{'worked: p50':>14}{'p99 ms':>9}{'calls':>7}")
        for name, operation in {**operations(), **background()}.items():
            task = name in background()
            watches = await _samples(core, crowd, operation, rounds // 10 if task else rounds)
            waited, worked = sorted(watch.waited * 1000 for watch in watches), sorted(watch.worked * 1000 for watch in watches)
            late = _p99(waited) > PROMISE_MS and not task
            kept = kept and not late
            mark = " (background)" if task else " <- too slow" if late else ""
            figures = f"{statistics.median(waited):12.2f}{_p99(waited):9.2f}{statistics.median(worked):14.2f}{_p99(worked):9.2f}"
            print(f"{name:32}{figures}{statistics.mean(watch.calls for watch in watches):7.0f}{mark}", flush=True)
    valkey.close()
    return kept


async def _samples(core: Any, crowd: Any, operation: Operation, rounds: int) -> list[Stopwatch]:
    """`rounds` runs after one to warm up."""
    await operation(core, crowd)
    watches = []
    for _ in range(max(3, rounds)):
        watch = Stopwatch()
        with watch.on(core.database):
            await operation(core, crowd)
        watches.append(watch)
    return watches


def _p99(figures: list[float]) -> float:
    return figures[min(len(figures) - 1, int(len(figures) * 0.99))]


if __name__ == "__main__":
    promise_kept = asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 200, Size()))
    print("\nevery command within the promise" if promise_kept else "\nthe promise is broken")
