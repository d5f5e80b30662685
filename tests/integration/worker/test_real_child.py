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
from engine.contracts.generation import Extension, Quality, Restyle, Scene, Storyboard, Upscale, Variation
from engine.contracts.jobs import DatasetItem
from tests.support.contracts import adapter_use, generate_video, geometry, stored, train_lora
from tests.support.media import write_clip, write_sound
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


async def test_every_mode_ends_in_a_playable_clip_of_its_length(runner: Runner, tmp_path: Path) -> None:
    """From a job's JSON to a file: frames and size are those of the mode, and the message tells what the file is."""
    first = (await _render(runner, tmp_path / "first", [])).clip
    double = geometry(width=64, height=64)
    scenes = (Scene(prompt="a red ball on a beach"), Scene(prompt="a red ball in a forest"))
    jobs: list[tuple[dict[str, Any], dict[str, Path], int, tuple[int, int]]] = [
        ({"extend": Extension(video=stored(), last_frames=5)}, {"clip": first}, 13, (32, 32)),
        ({"restyle": Restyle(video=stored(), strength=0.5)}, {"clip": first}, 9, (32, 32)),
        ({"upscale": Upscale(video=stored()), "geometry": double}, {"clip": first}, 9, (64, 64)),
        ({"storyboard": Storyboard(scenes=scenes, rerolls=1), "quality": Quality.FAST}, {}, 18, (32, 32)),
        ({"vary": Variation(seed=3), "quality": Quality.FAST, "mute": True}, {}, 9, (32, 32)),
    ]
    for number, (changes, files, frames, size) in enumerate(jobs):
        out_dir = tmp_path / f"out{number}"
        out_dir.mkdir()
        job = generate_video(job_id=new_job_id(), prompt="a red ball on a beach", **changes)
        command = pipe.StartRender(job=job, adapters=(), image=None, out_dir=out_dir, **files)
        async with runner.work(command) as work:
            messages = [message async for message in work.messages()]
        ending = messages[-1]
        assert isinstance(ending, pipe.Rendered), (job.mode, ending)
        assert _frames(ending.clip).shape == (frames, 256, 256, 3), job.mode
        assert (ending.num_frames, (ending.geometry.width, ending.geometry.height)) == (frames, size), job.mode
        if job.extend is not None:
            assert ending.join_psnr is not None
            assert ending.join_psnr >= 30
        if job.storyboard is not None:
            assert len(ending.scenes) == 2
            assert all(scene.identity is not None for scene in ending.scenes)


async def test_bad_source_ends_its_render_with_its_own_code(runner: Runner, tmp_path: Path) -> None:
    """What only the worker can see of a video is told by a code that has a sentence."""
    for name, path, code in (
        ("long", write_clip(tmp_path / "long.mp4", num_frames=40), "video_too_long"),
        ("one", write_clip(tmp_path / "one.mp4", num_frames=1), "video_too_short"),
        ("sound", write_sound(tmp_path / "sound.mp4"), "video_missing_stream"),
    ):
        out_dir = tmp_path / name
        out_dir.mkdir()
        job = generate_video(job_id=new_job_id(), restyle=Restyle(video=stored()))
        async with runner.work(pipe.StartRender(job=job, adapters=(), image=None, clip=path, out_dir=out_dir)) as work:
            ending = [message async for message in work.messages()][-1]
        assert isinstance(ending, pipe.WorkFailed)
        assert (ending.code.value, ending.steps_done) == (code, 0)


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
