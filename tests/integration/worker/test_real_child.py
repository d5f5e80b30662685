"""The real GPU child on the tiny base: a training and renders share it, change nothing for each other, and wait one step at most."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from safetensors.numpy import load_file

from engine.contracts.events import Phase
from engine.contracts.jobs import DatasetItem
from tests.support.contracts import adapter_use, generate_video, stored, train_lora
from tests.support.workers import eventually, new_job_id
from worker import pipe
from worker.runner import Runner, RunnerConfig

STEPS = 12
CHILD = (sys.executable, "-m", "worker.child")


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runner(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Runner]:
    """A real child on the tiny base, ready; one for all tests here, since loading costs more than they do."""
    folder = tmp_path_factory.mktemp("credentials")
    runner = Runner(RunnerConfig(CHILD, "tiny", "cpu", folder, start_timeout_s=120, stall_timeout_s=120, cancel_grace_s=30, cpu_threads=1))
    life = asyncio.create_task(runner.run())
    await eventually(lambda: runner.ready, within_s=120)
    yield runner
    await runner.stop(grace_s=20)
    await life


async def test_training_and_render_in_one_child_do_not_see_each_other(runner: Runner, pictures: tuple[Path, ...], tmp_path: Path) -> None:
    """The LoRA of an interrupted training equals that of a calm one bit for bit, and so do the frames rendered in between, with a LoRA."""
    calm = await _train(runner, pictures, tmp_path / "calm")
    loras = [calm.lora]
    idle_frames = _frames((await _render(runner, tmp_path / "idle", loras)).clip)

    async with contextlib.AsyncExitStack() as stack:
        work = await stack.enter_async_context(runner.work(_training(pictures, tmp_path / "busy")))
        clips: list[pipe.Rendered] = []
        ending: Any = None
        async for message in work.messages():
            ending = message
            if isinstance(message, pipe.Advanced) and message.progress.phase in (Phase.PREPARING, Phase.TRAINING) and len(clips) < 3:
                clips.append(await _render(runner, tmp_path / f"clip{len(clips)}", loras))
    assert isinstance(ending, pipe.Trained)
    assert len(clips) == 3
    for clip in clips:
        np.testing.assert_array_equal(_frames(clip.clip), idle_frames)
    disturbed, undisturbed = load_file(ending.lora), load_file(calm.lora)
    assert disturbed.keys() == undisturbed.keys()
    for name in undisturbed:
        np.testing.assert_array_equal(disturbed[name], undisturbed[name])


async def test_render_starts_within_one_training_step(runner: Runner, pictures: tuple[Path, ...], tmp_path: Path) -> None:
    """Between the arrival of the command and the first denoising step the training makes at most the step it is in."""
    run_dir = tmp_path / "run"
    async with runner.work(_training(pictures, run_dir, steps=400)) as training:
        await eventually(lambda: _steps_logged(run_dir) >= 3, within_s=60)
        for number in range(3):
            before = _steps_logged(run_dir)
            async with runner.work(_rendering(tmp_path / f"clip{number}")) as work:
                async for message in work.messages():
                    if isinstance(message, pipe.Advanced) and message.progress.phase is Phase.DENOISING:
                        assert _steps_logged(run_dir) - before <= 2  # the step in hand when we counted, and the one when the command came
                        break
                assert isinstance([message async for message in work.messages()][-1], pipe.Rendered)
        await training.cancel()
        endings = [message async for message in training.messages() if isinstance(message, pipe.Ending)]
    assert isinstance(endings[-1], pipe.WorkCancelled)


async def test_render_that_fails_leaves_the_training_alone(runner: Runner, pictures: tuple[Path, ...], tmp_path: Path) -> None:
    """A LoRA file that is none ends its own job with its own code, in the middle of somebody else's training."""
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"no tensors here")
    async with runner.work(_training(pictures, tmp_path / "run")) as training:
        ending = await _ending_of_render(runner, tmp_path / "out", [junk])
        assert isinstance(ending, pipe.WorkFailed)
        assert ending.code.value == "adapter_invalid"
        endings = [message async for message in training.messages() if isinstance(message, pipe.Ending)]
    assert isinstance(endings[-1], pipe.Trained)


def _training(pictures: Sequence[Path], run_dir: Path, steps: int = STEPS) -> pipe.StartTraining:
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


def _rendering(out_dir: Path, loras: Sequence[Path] = ()) -> pipe.StartRender:
    out_dir.mkdir()
    uses = tuple(adapter_use(lora_id=f"lora{number}", name=f"lora{number}") for number, _ in enumerate(loras))
    job = generate_video(job_id=new_job_id(), adapters=uses)
    return pipe.StartRender(job=job, adapters=tuple(loras), image=None, out_dir=out_dir)


async def _train(runner: Runner, pictures: Sequence[Path], run_dir: Path) -> pipe.Trained:
    async with runner.work(_training(pictures, run_dir)) as work:
        endings = [message async for message in work.messages() if isinstance(message, pipe.Ending)]
    assert isinstance(endings[-1], pipe.Trained)
    return endings[-1]


async def _ending_of_render(runner: Runner, out_dir: Path, loras: Sequence[Path]) -> Any:
    async with runner.work(_rendering(out_dir, loras)) as work:
        return [message async for message in work.messages() if isinstance(message, pipe.Ending)][-1]


async def _render(runner: Runner, out_dir: Path, loras: Sequence[Path]) -> pipe.Rendered:
    ending = await _ending_of_render(runner, out_dir, loras)
    assert isinstance(ending, pipe.Rendered)
    return ending


def _frames(path: Path) -> NDArray[np.uint8]:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def _steps_logged(run_dir: Path) -> int:
    log = run_dir / "metrics.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0
