"""How soon the job of a killed worker runs elsewhere: figures for a note, never a test.

`python tests/bench/bench_recovery.py [KILLS]`: two real workers; the one that trains gets a SIGKILL, and the clock runs until the other
one has begun the next try. With the leases of the chaos run, and with those workers have by default.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))

from rich.console import Console
from rich.table import Table

from engine.contracts.events import JobStarted
from engine.contracts.jobs import DatasetItem
from tests.support.chaos import LEASE_S
from tests.support.contracts import train_lora
from tests.support.valkey import Valkey
from tests.support.workers import ROOT, Studio, WorkerProcess, new_job_id
from worker.config import WorkerSettings

NAMES = ("w1", "w2")


async def kills(folder: Path, lease_s: float, count: int) -> list[float]:
    """Seconds from each kill to the next start."""
    valkey = await asyncio.to_thread(Valkey, folder / "valkey")
    studio = Studio(folder / "studio", valkey)
    workers: dict[str, WorkerProcess] = {}
    waits = []

    async def start(name: str) -> None:
        workers[name] = await studio.worker(name, CALLSHEET_LEASE_S=str(lease_s), PYTHONPATH=str(ROOT))
        await studio.announced(name)

    try:
        for name in NAMES:
            await start(name)
        media = await studio.put("uploads/1/a.png", "picture")
        for _ in range(count):
            job = train_lora(job_id=new_job_id(), items=(DatasetItem(media=media, filename="a.png"),), steps=20_000)
            await studio.enqueue(job)
            first = await studio.event(job.job_id, JobStarted, within_s=120)
            killed_at = time.time()
            workers[first.worker_id].kill()
            second = await studio.event(job.job_id, JobStarted, within_s=300, attempt=2)
            assert second.worker_id != first.worker_id
            waits.append(second.at - killed_at)
            await studio.cancel(job.job_id)
            await studio.ending(job.job_id)
            await workers[first.worker_id].exited()
            await start(first.worker_id)
    finally:
        await studio.close()
        valkey.close()
    return waits


async def main(count: int) -> None:
    """Measure, then print."""
    table = Table("lease s", "kills", "median s", "longest s")
    with tempfile.TemporaryDirectory() as name:
        for number, lease_s in enumerate((LEASE_S, WorkerSettings.model_fields["lease_s"].default)):
            folder = Path(name) / str(number)
            await asyncio.to_thread(folder.mkdir)
            waits = await kills(folder, lease_s, count)
            table.add_row(f"{lease_s:g}", str(count), f"{median(waits):.1f}", f"{max(waits):.1f}")
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if sys.argv[1:] else 10))
