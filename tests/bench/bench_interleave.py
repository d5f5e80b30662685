"""How much later does a clip start because a training runs? One real GPU child on `tiny`, idle and training renders in one run.

Prints the time from the command to the first denoising step, idle and in mid-training, beside the training's own step:
`python tests/bench/bench_interleave.py [renders]`. The physical limit of the difference is the rest of the training step in hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from ulid import ULID

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from engine.contracts.events import Phase
from engine.contracts.jobs import DatasetItem
from tests.support.contracts import generate_video, stored, train_lora
from tests.support.hostile import picture
from worker import pipe
from worker.runner import Runner, RunnerConfig, Work


async def first_step_s(runner: Runner, folder: Path) -> float:
    """Seconds from the command to the start of the clip's first denoising step."""
    job_id = str(ULID())
    out = folder / job_id
    out.mkdir()
    command = pipe.StartRender(job=generate_video(job_id=job_id, adapters=()), adapters=(), image=None, out_dir=out)
    began = time.perf_counter()
    waited: float | None = None
    async with runner.work(command) as work:
        async for message in work.messages():
            if waited is None and isinstance(message, pipe.Advanced) and message.progress.phase is Phase.DENOISING:
                waited = time.perf_counter() - began
    assert waited is not None
    return waited


async def follow(work: Work, steps: list[float]) -> None:
    """Collect the training's step times until it is cancelled."""
    async for message in work.messages():
        if isinstance(message, pipe.Advanced) and message.progress.phase is Phase.TRAINING and message.progress.seconds_per_step:
            steps.append(message.progress.seconds_per_step)


async def measure(renders: int) -> None:
    """Idle first, then the same in the middle of a training."""
    folder = Path(tempfile.mkdtemp())
    command = (sys.executable, "-m", "worker.child")
    runner = Runner(RunnerConfig(command=command, base="tiny", device="cpu", start_timeout_s=300, stall_timeout_s=300, cancel_grace_s=60))
    life = asyncio.create_task(runner.run())
    while not runner.ready:
        runner.changed.clear()
        await runner.changed.wait()
    for _ in range(2):
        await first_step_s(runner, folder)
    idle = [await first_step_s(runner, folder) for _ in range(renders)]

    paths = []
    for number in range(24):
        paths.append(folder / f"{number}.png")
        paths[-1].write_bytes(picture(number))
    items = tuple(DatasetItem(media=stored(), filename=path.name) for path in paths)
    job = train_lora(job_id=str(ULID()), items=items, steps=20_000)
    run_dir = folder / "run"
    run_dir.mkdir()
    start = pipe.StartTraining(
        job=job, media=tuple(paths), run_dir=run_dir, resume=False, checkpoint_every_s=1e6, checkpoint_every_steps=0, preview_every_steps=0
    )
    steps: list[float] = []
    busy = []
    pauses = random.Random(1)
    async with runner.work(start) as training:
        following = asyncio.create_task(follow(training, steps))
        while len(steps) < 3:
            await asyncio.sleep(0.05)
        for _ in range(renders):
            await asyncio.sleep(0.3 + pauses.random() * 0.5)
            busy.append(await first_step_s(runner, folder))
        await training.cancel()
        await following
    await runner.stop(30)
    with contextlib.suppress(asyncio.CancelledError):
        await life

    step = statistics.median(steps)
    print(f"{'':34}{'median':>9}{'worst':>9}   (ms, {renders} clips each)")
    for name, values in (("idle: command to first step", idle), ("training: command to first step", busy), ("training step", steps)):
        print(f"{name:34}{statistics.median(values) * 1000:9.1f}{max(values) * 1000:9.1f}")
    extra = statistics.median(busy) - statistics.median(idle)
    print(f"a training costs a clip's start {extra * 1000:.1f} ms at the median = {extra / step:.2f} training steps (limit: 1)")
    print(f"worst case {(max(busy) - statistics.median(idle)) / max(steps):.2f} of the longest training step")


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
