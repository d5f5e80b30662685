"""The real GPU child on the tiny base as a worker's parent drives it: given trainings and renders, and listened to. Torch-free."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.contracts.jobs import DatasetItem
from engine.contracts.lora import AdapterUse
from tests.support.contracts import adapter_use, generate_video, stored, train_lora
from tests.support.workers import eventually, new_job_id
from worker import pipe
from worker.runner import Runner, RunnerConfig

CHILD = (sys.executable, "-m", "worker.child")


@asynccontextmanager
async def real_child(credentials: Path) -> AsyncIterator[Runner]:
    """A runner whose child is ready; ended afterwards."""
    config = RunnerConfig(CHILD, "tiny", "cpu", credentials, start_timeout_s=120, stall_timeout_s=120, cancel_grace_s=30, cpu_threads=1)
    runner = Runner(config)
    life = asyncio.create_task(runner.run())
    await eventually(lambda: runner.ready, within_s=120)
    try:
        yield runner
    finally:
        await runner.stop(grace_s=20)
        await life


def training(pictures: Sequence[Path], run_dir: Path, steps: int) -> pipe.StartTraining:
    """A character training of `steps` steps on pictures that lie here already."""
    items = tuple(DatasetItem(media=stored(), filename=path.name) for path in pictures)
    return pipe.StartTraining(
        job=train_lora(job_id=new_job_id(), items=items, steps=steps),
        media=tuple(pictures),
        run_dir=run_dir,
        resume=False,
        checkpoint_every_s=3600,
        checkpoint_every_steps=0,
        preview_every_steps=0,
    )


def rendering(
    out_dir: Path,
    loras: Sequence[Path] = (),
    uses: Sequence[AdapterUse] | None = None,
    *,
    files: Mapping[str, Path] | None = None,
    **changes: Any,
) -> pipe.StartRender:
    """A clip with a stack of files; `files` are the local sources by their role, `changes` the job's other fields."""
    out_dir.mkdir(parents=True)
    if uses is None:
        uses = [adapter_use(lora_id=f"lora{number}", name=f"lora{number}") for number, _ in enumerate(loras)]
    job = generate_video(**{"job_id": new_job_id(), "adapters": tuple(uses), **changes})
    return pipe.StartRender(job=job, adapters=tuple(loras), image=None, out_dir=out_dir).model_copy(update=dict(files or {}))


async def ending_of(runner: Runner, command: pipe.StartTraining | pipe.StartRender) -> Any:
    """Run one job to its end and return the message that ended it."""
    async with runner.work(command) as work:
        return [message async for message in work.messages()][-1]


async def rendered(runner: Runner, command: pipe.StartRender) -> pipe.Rendered:
    """Run one render that must succeed."""
    ending = await ending_of(runner, command)
    assert isinstance(ending, pipe.Rendered), (command.job.mode, ending)
    return ending


async def trained(runner: Runner, command: pipe.StartTraining) -> pipe.Trained:
    """Run one training that must succeed."""
    ending = await ending_of(runner, command)
    assert isinstance(ending, pipe.Trained), ending
    return ending


def frames_of(path: Path) -> NDArray[np.uint8]:
    """Every frame of a clip, [F, H, W, 3]."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def pixels_of(path: Path) -> NDArray[np.uint8]:
    """A picture, [H, W, 3]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def steps_logged(run_dir: Path) -> int:
    """Optimizer steps that a training has written down."""
    log = run_dir / "metrics.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0
