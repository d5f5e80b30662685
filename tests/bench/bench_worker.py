"""How long recovery and interleaving take on this machine: figures for a note, never a test.

`python tests/bench/bench_worker.py` prints one JSON object: seconds from SIGKILL of a whole worker to the start of its job on another
one by lease length (scripted child), and milliseconds from a render's command to its first denoising step, on an idle child and in the
middle of a training (real child, tiny base), with the training's own step time beside it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from PIL import Image

from engine.contracts.events import JobStarted, Phase
from engine.contracts.jobs import DatasetItem
from tests.support.contracts import generate_video, stored, train_lora
from tests.support.valkey import Valkey
from tests.support.workers import Studio, new_job_id
from worker import pipe
from worker.runner import Runner, RunnerConfig

LEASES_S = (1.5, 6.0)
KILLS = 4
RENDERS = 12


async def main() -> None:
    """Measure, then print."""
    with tempfile.TemporaryDirectory() as folder:
        figures: dict[str, Any] = {"cores": os.cpu_count(), "load_at_start": os.getloadavg()[0]}
        for lease_s in LEASES_S:
            times = [await _recovery(Path(folder) / f"{lease_s}-{number}", lease_s) for number in range(KILLS)]
            figures[f"recovery_s_with_lease_{lease_s}"] = _spread(times)
        figures.update(await _interleaving(Path(folder)))
        figures["load_at_end"] = os.getloadavg()[0]
    print(json.dumps(figures, indent=2))


async def _recovery(folder: Path, lease_s: float) -> float:
    valkey = Valkey(folder / "valkey")
    studio = Studio(folder / "studio", valkey)
    try:
        first = await studio.worker("w1", CALLSHEET_LEASE_S=str(lease_s))
        media = await studio.put("uploads/1/a.png", "picture")
        job = train_lora(job_id=new_job_id(), steps=5000, items=(DatasetItem(media=media, filename="a.png"),))
        await studio.enqueue(job)
        await studio.event(job.job_id, JobStarted)
        second = await studio.worker("w2", CALLSHEET_LEASE_S=str(lease_s))
        await second.child_pid()
        await asyncio.sleep(lease_s)  # past the second worker's hold-off and somewhere within a beat of the first
        killed_at = time.time()
        first.kill()
        again = await studio.event(job.job_id, JobStarted, within_s=60, attempt=2)
        return float(again.at - killed_at)
    finally:
        await studio.close()
        valkey.close()


async def _interleaving(folder: Path) -> dict[str, Any]:
    command = (sys.executable, "-m", "worker.child")
    runner = Runner(
        RunnerConfig(
            command, "tiny", "cpu", folder / "credentials", start_timeout_s=300, stall_timeout_s=300, cancel_grace_s=60, cpu_threads=1
        )
    )
    life = asyncio.create_task(runner.run())
    while not runner.ready:
        await runner.changed.wait()
        runner.changed.clear()
    await _first_step_ms(runner, folder / "warm-up")
    idle = [await _first_step_ms(runner, folder / f"idle{number}") for number in range(RENDERS)]
    async with runner.work(_training(folder)) as training:
        async for message in training.messages():
            if isinstance(message, pipe.Advanced) and message.progress.phase is Phase.TRAINING and message.progress.step >= 5:
                break
        during = [await _first_step_ms(runner, folder / f"during{number}") for number in range(RENDERS)]
        await training.cancel()
        steps = [
            message.progress.seconds_per_step * 1000
            async for message in training.messages()
            if isinstance(message, pipe.Advanced) and message.progress.seconds_per_step and message.progress.phase is Phase.TRAINING
        ]
    await runner.stop(grace_s=30)
    await life
    return {
        "first_denoising_ms_idle": _spread(idle),
        "first_denoising_ms_during_training": _spread(during),
        "training_step_ms": round(median(steps), 1),
    }


async def _first_step_ms(runner: Runner, out_dir: Path) -> float:
    command = _rendering(out_dir)
    began = time.perf_counter()
    first = 0.0
    async with runner.work(command) as work:
        async for message in work.messages():
            if not first and isinstance(message, pipe.Advanced) and message.progress.phase is Phase.DENOISING:
                first = time.perf_counter() - began
    return first * 1000


def _rendering(out_dir: Path) -> pipe.StartRender:
    out_dir.mkdir()
    return pipe.StartRender(job=generate_video(job_id=new_job_id()), adapters=(), image=None, out_dir=out_dir)


def _training(folder: Path) -> pipe.StartTraining:
    paths = [folder / f"{index}.png" for index in range(8)]
    for index, path in enumerate(paths):
        Image.new("RGB", (32, 32), (30 * index, 200 - 20 * index, 90)).save(path)
    items = tuple(DatasetItem(media=stored(), filename=path.name) for path in paths)
    return pipe.StartTraining(
        job=train_lora(job_id=new_job_id(), items=items, steps=5000),
        media=tuple(paths),
        run_dir=folder / "run",
        resume=False,
        checkpoint_every_s=3600,
        checkpoint_every_steps=0,
        preview_every_steps=0,
    )


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"n": len(values), "min": round(min(values), 2), "median": round(median(values), 2), "max": round(max(values), 2)}


if __name__ == "__main__":
    asyncio.run(main())
