"""How fast the queue is without GPU work: figures for a note, never a test.

`python tests/bench/bench_queue.py [DEPTH …]` prints one JSON object. Bot services, dispatcher, event consumer and ledger run in this
process, workers (tests/bench/queue_worker.py) in a second, Valkey in a third, all on this machine's cores; posts stay in the outbox.

- `end to end`: jobs per second from the first submit to the last settled ledger entry; and the CPU a job took in bot and workers, which
  tells what an idle machine would do when this one is busy.
- `by depth`: milliseconds of the bot's CPU for one more submit, hand-out, end and position while so many jobs wait.
- `start`: milliseconds from submit to a worker's first event when everything is idle.
- `plain arq`: the same number of jobs through stock arq with its defaults, without rows, ledger or events.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from arq.connections import create_pool
from arq.worker import RedisSettings

from bot.clock import build_clock
from engine.contracts import wire
from tests.support.bot_core import Core, actor, open_core
from tests.support.valkey import Valkey

JOBS = int(os.environ.get("BENCH_JOBS", "3000"))
LANES = 8
AT_ONCE = 20
USERS = 200
DEPTHS = (1_000, 10_000, 100_000)
SAMPLES = 200
STARTS = 60
POLL_S = 0.05
LIMITS = {"daily_units": 10**9, "free_daily_units": 10**9, "max_open_jobs": 10**6}


@asynccontextmanager
async def _worker(url: str, count: str) -> AsyncIterator[None]:
    command = (sys.executable, "-m", "tests.bench.queue_worker", url, count, str(POLL_S))
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        yield
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def _core(folder: Path, url: str, **settings: Any) -> AsyncIterator[Core]:
    async with open_core(folder, url, clock=build_clock(None), **LIMITS, **settings) as core:
        yield core


@asynccontextmanager
async def _running(core: Core) -> AsyncIterator[None]:
    core.dispatcher.dispatch_interval_s = 0.25
    core.dispatcher.reconcile_interval_s = 5.0
    tasks = [asyncio.create_task(run) for run in (core.dispatcher.run_dispatch(), core.consumer.run(), core.queue.watch_health())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _count(core: Core, where: str) -> int:
    rows = await core.database.reader.execute_fetchall(f"SELECT count(*) FROM jobs WHERE {where}")
    return int(next(iter(rows))[0])


async def _workers_up(core: Core, count: int) -> None:
    while len(await core.queue.workers()) < count:
        await asyncio.sleep(0.1)


async def end_to_end(folder: Path, url: str) -> dict[str, Any]:
    """Everybody submits at once; how long until the books are closed."""
    cpu = os.times()
    figures = await _end_to_end(folder, url)
    spent = [after - before for before, after in zip(cpu, os.times(), strict=True)]
    return figures | {"bot_cpu_ms": round(1000 * sum(spent[:2]) / JOBS, 2), "workers_cpu_ms": round(1000 * sum(spent[2:4]) / JOBS, 2)}


async def _end_to_end(folder: Path, url: str) -> dict[str, Any]:
    async with _core(folder, url) as core, _worker(url, str(LANES)), _running(core):
        await _workers_up(core, LANES)
        began, numbers = time.perf_counter(), iter(range(JOBS))

        async def person() -> None:
            for number in numbers:
                await core.generate(actor(1 + number % USERS), prompt=f"clip {number}")

        await asyncio.gather(*(person() for _ in range(AT_ONCE)))
        submitted = time.perf_counter() - began
        while await _count(core, "status = 'succeeded'") < JOBS:
            await asyncio.sleep(0.05)
        took = time.perf_counter() - began
        settled = await core.database.reader.execute_fetchall("SELECT count(*), sum(held) FROM ledger")
        assert tuple(next(iter(settled))) == (2 * JOBS, 0)
        return {"jobs": JOBS, "lanes": LANES, "jobs_per_s": round(JOBS / took, 1), "submits_per_s": round(JOBS / submitted, 1)}


async def starts(folder: Path, url: str) -> dict[str, Any]:
    """One job at a time on an idle fleet."""
    async with _core(folder, url) as core, _worker(url, "1"), _running(core):
        await _workers_up(core, 1)
        waits = []
        for number in range(STARTS):
            began = time.time()
            job_id = (await core.generate(prompt=f"clip {number}")).view.record.job_id
            while (record := await core.record(job_id)).started_at is None or not record.status.terminal:
                await asyncio.sleep(0.002)
            events = await core.queue.redis.xrevrange(wire.Keys().events, count=2)
            started = next(json.loads(fields[b"event"]) for _, fields in events if json.loads(fields[b"event"])["kind"] == "job_started")
            waits.append(1000 * (started["at"] - began))
            await asyncio.sleep(0.037 * (number % 5))  # not in step with the worker's rhythm
        return _spread(waits)


async def depth(folder: Path, url: str, waiting: int) -> dict[str, Any]:
    """The bot's own time per job while `waiting` jobs wait; ends are made without a worker process, so nothing else is measured."""
    from tests.support.bot_core import PlayedWorker

    async with _core(folder, url) as core:
        await core.queue.ping()
        await _fill(core, waiting)
        worker = PlayedWorker(core.queue.redis)
        await worker.announce(alive_s=3600)
        timed: dict[str, list[float]] = {"submit": [], "hand out": [], "end": [], "position": []}
        for number in range(SAMPLES):
            async with _timed(timed["submit"]):
                view = (await core.generate(actor(1 + number % USERS), prompt="one more")).view
            async with _timed(timed["hand out"]):
                await core.dispatcher.dispatch()
            ids = await worker.waiting(wire.Lane.RENDER)
            if ids:
                await worker.succeed(await worker.claim(wire.Lane.RENDER))
                async with _timed(timed["end"]):
                    await core.consume()
            async with _timed(timed["position"]):
                await core.services.jobs.get(view.record.job_id)
        return {name: round(median(values), 2) for name, values in timed.items()}


async def _fill(core: Core, waiting: int) -> None:
    """Copies of one submitted job, spread over people, servers and the order."""
    first = (await core.generate()).view.record.job_id
    async with core.database.transaction() as tx:
        columns = [row["name"] for row in await tx.execute_fetchall("PRAGMA table_info(jobs)")]
        changed = {
            "job_id": "substr(job_id, 1, 18) || printf('%08d', n)",
            "request": "replace(request, job_id, substr(job_id, 1, 18) || printf('%08d', n))",
            "owner_id": "1000 + n % 5000",
            "guild_id": "n % 500",
            "interaction_id": "-n",
            "fair_start": "fair_start + n * 0.01",
            "fair_due": "fair_due + n * 0.01",
            "turn": "n / 5000",
        }
        values = ", ".join(changed.get(column, column) for column in columns)
        await tx.execute(
            f"""WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {waiting})
            INSERT INTO jobs ({", ".join(columns)}) SELECT {values} FROM jobs CROSS JOIN numbers WHERE job_id = ?""",
            (first,),
        )


@asynccontextmanager
async def _timed(into: list[float]) -> AsyncIterator[None]:
    began = time.process_time()  # all threads, nobody else's processes
    yield
    into.append(1000 * (time.process_time() - began))


async def plain_arq(url: str) -> dict[str, Any]:
    """Stock arq, default settings."""
    pool = await create_pool(RedisSettings.from_dsn(url))
    async with _worker(url, "plain"):
        await pool.enqueue_job(wire.TASK, {}, _job_id="warm-up")
        while not await pool.exists("arq:result:warm-up"):
            await asyncio.sleep(0.01)
        began, numbers = time.perf_counter(), iter(range(JOBS))

        async def person() -> None:
            for number in numbers:
                await pool.enqueue_job(wire.TASK, {"n": number}, _job_id=f"plain{number}")

        await asyncio.gather(*(person() for _ in range(AT_ONCE)))
        while await pool.zcard("arq:queue"):
            await asyncio.sleep(0.02)
        took = time.perf_counter() - began
        waits = []
        for number in range(STARTS // 3):
            sent = time.time()
            job = await pool.enqueue_job(wire.TASK, {}, _job_id=f"start{number}")
            assert job is not None
            await job.result(timeout=30, poll_delay=0.01)
            info = await job.result_info()
            assert info is not None
            waits.append(1000 * (info.start_time.timestamp() - sent))
            await asyncio.sleep(0.037 * (number % 5))
    await pool.aclose()
    return {"jobs_per_s": round(JOBS / took, 1), "start_ms": _spread(waits)}


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"n": len(values), "p50": round(median(values), 1), "p95": round(quantiles(values, n=20)[-1], 1), "max": round(max(values), 1)}


def _told(figures: dict[str, Any]) -> dict[str, Any]:
    """The same, said at once to whoever watches."""
    print(json.dumps(figures), file=sys.stderr, flush=True)
    return figures


async def main(depths: Sequence[int]) -> None:
    """Measure, then print."""
    figures: dict[str, Any] = {"cores": os.cpu_count(), "load_at_start": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        @contextlib.contextmanager
        def server(part: str):  # type: ignore[no-untyped-def]
            (folder / part).mkdir()
            valkey = Valkey(folder / part / "valkey")
            try:
                yield valkey.url
            finally:
                valkey.close()

        with server("plain") as url:
            figures["plain arq"] = _told(await plain_arq(url))
        with server("ours") as url:
            figures["end to end"] = _told(await end_to_end(folder / "ours" / "bot", url))
        with server("starts") as url:
            figures["start ms, idle"] = _told(await starts(folder / "starts" / "bot", url))
        figures["ms per job by depth"] = {}
        for waiting in depths:
            with server(f"depth{waiting}") as url:
                figures["ms per job by depth"][waiting] = _told(await depth(folder / f"depth{waiting}" / "bot", url, waiting))
    figures["load_at_end"] = os.getloadavg()[0]
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    asyncio.run(main([int(value) for value in sys.argv[1:]] or DEPTHS))
