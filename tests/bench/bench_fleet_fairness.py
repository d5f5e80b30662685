"""Who waits how long in a fleet of real workers: figures for a note, never a test.

`python tests/bench/bench_fleet_fairness.py` starts Valkey and three workers (`python -m worker`, a child that counts instead of
computing) as processes of their own; the bot's services, dispatcher and event consumer run in this one, on a real database and clock.
It prints waits in seconds from the press to the start, first of ten people beside one with 2 or 200 jobs, then of both plans while half
as much again is asked for as the fleet can do. `bench_fairness.py` plays the same in simulated time, and longer.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import mean, median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from rich.console import Console
from rich.table import Table

from bot.storage import plans as plans_table
from bot.storage.plans import Holding, Plan, PlanSource
from tests.bench.bench_queue import _core, _running, _workers_up
from tests.support.bot_core import Core, actor, place
from tests.support.valkey import Valkey
from tests.support.workers import ROOT, WorkerProcess

WORKERS = 3
STEP_S = float(os.environ.get("BENCH_STEP_S", "0.1"))  # a clip has four
OVERLOAD = 1.5
OVERLOAD_S = float(os.environ.get("BENCH_OVERLOAD_S", "60"))
SEED = int(os.environ.get("BENCH_SEED", "1"))
HEAVY, PREMIUM = 1, 1000

Rows = list[Mapping[str, Any]]


@asynccontextmanager
async def _fleet(folder: Path) -> AsyncIterator[Core]:
    """A bot core with its workers up."""
    await asyncio.to_thread(folder.mkdir)
    valkey = Valkey(folder / "valkey")
    workers: list[WorkerProcess] = []
    try:
        async with _core(folder / "bot", valkey.url, default_plan="free") as core, _running(core):
            shared = {"CALLSHEET_STORE_URL": core.settings.object_store_url, "FAKE_STEP_S": str(STEP_S), "PYTHONPATH": str(ROOT)}
            for number in range(WORKERS):
                workers.append(await WorkerProcess.start(folder, valkey, f"w{number}", **shared))
            await _workers_up(core, WORKERS)
            yield core
            for worker in workers:
                assert await worker.stop() == 0
    finally:
        for worker in workers:
            if worker.process.returncode is None:
                worker.kill()
                await worker.exited()
        valkey.close()


async def _ask(core: Core, owner: int, guild: int = 10) -> None:
    await core.generate(actor(owner, guild_id=guild), place=place(guild), prompt="a clip")


async def _ended(core: Core) -> Rows:
    rows = await core.rows("jobs")
    while any(row["finished_at"] is None for row in rows):
        await asyncio.sleep(0.5)
        rows = await core.rows("jobs")
    assert {row["status"] for row in rows} == {"succeeded"}
    return rows


def _waits(rows: Rows, plan: str | None = None) -> list[float]:
    """Of everybody but the one with many jobs."""
    return [row["started_at"] - row["created_at"] for row in rows if row["owner_id"] != HEAVY and plan in (None, row["plan"])]


async def beside_one(folder: Path, heavy: int) -> tuple[list[float], float]:
    """Waits of ten people with two clips each, who come a second after one with `heavy`; and clips per second of the fleet."""
    async with _fleet(folder) as core:
        for _ in range(heavy):
            await _ask(core, HEAVY)
        await asyncio.sleep(1.0)
        for number in range(20):
            await _ask(core, 2 + number % 10)
        rows = await _ended(core)
        took = max(row["finished_at"] for row in rows) - min(row["started_at"] for row in rows)
        return _waits(rows), len(rows) / took


async def overload(folder: Path, per_s: float) -> tuple[dict[str, list[float]], float]:
    """Waits by plan with clips asked for at `per_s`, one in four by premium people; and how many per second it was indeed."""
    chance = random.Random(SEED)
    async with _fleet(folder) as core:
        async with core.database.transaction() as tx:
            for owner in range(PREMIUM, PREMIUM + 100):
                await plans_table.put(tx, Holding(PlanSource.OPERATOR, f"user:{owner}", Plan.PREMIUM, owner, None, 0.0, None))
        began, at, asked = time.monotonic(), 0.0, 0
        while (at := at + chance.expovariate(per_s)) < OVERLOAD_S:
            await asyncio.sleep(max(0.0, began + at - time.monotonic()))
            owner = chance.randrange(100) + (PREMIUM if chance.random() < 0.25 else 2)
            await _ask(core, owner, guild=10 + owner % 5)
            asked += 1
        came = asked / (time.monotonic() - began)
        rows = await _ended(core)
        return {plan: _waits(rows, plan) for plan in ("premium", "free")}, came


async def main() -> None:
    """Measure, then print."""
    print_ = Console(soft_wrap=True).print
    print_(f"{WORKERS} workers, clips of {4 * STEP_S:g} s, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        waits: dict[int, list[float]] = {2: [], 200: []}
        speeds = []
        for turn, heavy in enumerate((2, 200, 200, 2)):  # both early and late, since others may use the machine, too
            found, speed = await beside_one(folder / f"{turn}", heavy)
            waits[heavy] += found
            if heavy == 200:
                speeds.append(speed)
        few, many, speed = waits[2], waits[200], mean(speeds)
        table = Table("ten people with two clips each", "mean wait s", "longest s")
        table.add_row("beside one with 2", f"{mean(few):.2f}", f"{max(few):.2f}")
        table.add_row("beside one with 200", f"{mean(many):.2f}", f"{max(many):.2f}")
        table.add_row("ratio", f"{mean(many) / mean(few):.2f}", f"{max(many) / max(few):.2f}")
        print_(table)
        by_plan, came = await overload(folder / "overload", OVERLOAD * speed)
        table = Table(f"{came:.1f} clips/s asked, {speed:.1f} done", "n", "p50 s", "p95 s", "longest s")
        for plan, found in by_plan.items():
            table.add_row(plan, str(len(found)), f"{median(found):.1f}", f"{quantiles(found, n=20)[-1]:.1f}", f"{max(found):.1f}")
        print_(table)
    print_(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    asyncio.run(main())
