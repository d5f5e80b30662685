"""The real GPU child on the tiny base: a training and renders share it, change nothing for each other, and wait one step at most."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from safetensors.numpy import load_file

from engine.contracts.events import Phase
from engine.contracts.generation import Extension, Quality, Restyle, Scene, Storyboard, Upscale, Variation
from tests.support.contracts import geometry, stored
from tests.support.media import write_clip, write_sound
from tests.support.real_child import ending_of, frames_of, real_child, rendered, rendering, steps_logged, trained, training
from tests.support.workers import eventually
from worker import pipe
from worker.runner import Runner, Work

STEPS = 12

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runner(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Runner]:
    """A real child on the tiny base, ready; one for all tests here, since loading costs more than they do."""
    async with real_child(tmp_path_factory.mktemp("credentials")) as runner:
        yield runner


async def test_training_and_render_in_one_child_do_not_see_each_other(runner: Runner, pictures: tuple[Path, ...], tmp_path: Path) -> None:
    """The LoRA of an interrupted training equals that of a calm one bit for bit, and so do the frames rendered in between, with a LoRA."""
    calm = await trained(runner, training(pictures, tmp_path / "calm", STEPS))
    loras = [calm.lora]
    idle_frames = frames_of((await rendered(runner, rendering(tmp_path / "idle", loras))).clip)

    async with contextlib.AsyncExitStack() as stack:
        work = await stack.enter_async_context(runner.work(training(pictures, tmp_path / "busy", STEPS)))
        clips: list[pipe.Rendered] = []
        ending: Any = None
        async for message in work.messages():
            ending = message
            if isinstance(message, pipe.Advanced) and message.progress.phase in (Phase.PREPARING, Phase.TRAINING) and len(clips) < 3:
                clips.append(await rendered(runner, rendering(tmp_path / f"clip{len(clips)}", loras)))
    assert isinstance(ending, pipe.Trained)
    assert len(clips) == 3
    for clip in clips:
        np.testing.assert_array_equal(frames_of(clip.clip), idle_frames)
    disturbed, undisturbed = load_file(ending.lora), load_file(calm.lora)
    assert disturbed.keys() == undisturbed.keys()
    for name in undisturbed:
        np.testing.assert_array_equal(disturbed[name], undisturbed[name])


async def test_render_starts_within_one_training_step(runner: Runner, pictures: tuple[Path, ...], tmp_path: Path) -> None:
    """Between the arrival of the command and the first denoising step the training makes at most the step it is in."""
    run_dir = tmp_path / "run"
    async with runner.work(training(pictures, run_dir, steps=400)) as work_of_training:
        await eventually(lambda: steps_logged(run_dir) >= 3, within_s=60)
        for number in range(3):
            before = steps_logged(run_dir)
            async with runner.work(rendering(tmp_path / f"clip{number}")) as work:
                async for message in work.messages():
                    if isinstance(message, pipe.Advanced) and message.progress.phase is Phase.DENOISING:
                        assert steps_logged(run_dir) - before <= 2  # the step in hand when we counted, and the one when the command came
                        break
                assert isinstance([message async for message in work.messages()][-1], pipe.Rendered)
        await work_of_training.cancel()
        endings = [message async for message in work_of_training.messages() if isinstance(message, pipe.Ending)]
    assert isinstance(endings[-1], pipe.WorkCancelled)


async def test_render_that_fails_leaves_the_training_alone(runner: Runner, pictures: tuple[Path, ...], tmp_path: Path) -> None:
    """A LoRA file that is none ends its own job with its own code, in the middle of somebody else's training."""
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"no tensors here")
    async with runner.work(training(pictures, tmp_path / "run", STEPS)) as work:
        ending = await ending_of(runner, rendering(tmp_path / "out", [junk]))
        assert isinstance(ending, pipe.WorkFailed)
        assert ending.code.value == "adapter_invalid"
        endings = [message async for message in work.messages() if isinstance(message, pipe.Ending)]
    assert isinstance(endings[-1], pipe.Trained)


async def test_every_mode_ends_in_a_playable_clip_of_its_length(runner: Runner, tmp_path: Path) -> None:
    """From a job's JSON to a file: frames and size are those of the mode, and the message tells what the file is."""
    first = (await rendered(runner, rendering(tmp_path / "first"))).clip
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
        command = rendering(tmp_path / f"out{number}", files=files, prompt="a red ball on a beach", **changes)
        job, ending = command.job, await rendered(runner, command)
        assert frames_of(ending.clip).shape == (frames, 256, 256, 3), job.mode
        assert (ending.num_frames, (ending.geometry.width, ending.geometry.height)) == (frames, size), job.mode
        if job.extend is not None:
            assert ending.join_psnr is not None
            assert ending.join_psnr >= 30
        if job.storyboard is not None:
            assert len(ending.scenes) == 2
            assert all(scene.identity is not None for scene in ending.scenes)


async def test_clips_in_a_row_are_those_of_clips_alone(runner: Runner, tmp_path: Path) -> None:
    """The device is told free before the first one's files are there; no frame shows it."""
    prompts = ("a red ball on a beach", "a blue robot in a forest")
    alone = [frames_of((await rendered(runner, rendering(tmp_path / f"alone{n}", prompt=text))).clip) for n, text in enumerate(prompts)]
    commands = [rendering(tmp_path / f"row{n}", prompt=text) for n, text in enumerate(prompts)]
    heard: list[tuple[int, str]] = []

    async def listen(number: int, work: Work) -> pipe.Rendered:
        async for message in work.messages():
            heard.append((number, message.kind))
        assert isinstance(message, pipe.Rendered)
        return message

    async with runner.work(commands[0]) as first, runner.work(commands[1]) as second:
        made = await asyncio.gather(listen(0, first), listen(1, second))
    for clip, wanted in zip(made, alone, strict=True):
        np.testing.assert_array_equal(frames_of(clip.clip), wanted)
    assert heard.index((0, "frames_made")) < heard.index((0, "rendered"))


async def test_bad_source_ends_its_render_with_its_own_code(runner: Runner, tmp_path: Path) -> None:
    """What only the worker can see of a video is told by a code that has a sentence."""
    for name, path, code in (
        ("long", write_clip(tmp_path / "long.mp4", num_frames=40), "video_too_long"),
        ("one", write_clip(tmp_path / "one.mp4", num_frames=1), "video_too_short"),
        ("sound", write_sound(tmp_path / "sound.mp4"), "video_missing_stream"),
    ):
        ending = await ending_of(runner, rendering(tmp_path / name, files={"clip": path}, restyle=Restyle(video=stored())))
        assert isinstance(ending, pipe.WorkFailed)
        assert (ending.code.value, ending.steps_done) == (code, 0)
