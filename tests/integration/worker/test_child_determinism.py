"""One request and seed is one clip in every mode, through the real GPU child: fresh, after many other jobs, and beside a training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.contracts.controls import Control, ControlKind
from engine.contracts.generation import Extension, GenerationMode, Guide, Quality, Restyle, Upscale, Variation
from engine.contracts.lora import LoraKind
from tests.support.contracts import adapter_use, geometry, stored
from tests.support.lora_files import write_lora
from tests.support.media import write_clip, write_picture
from tests.support.real_child import frames_of, pixels_of, real_child, rendered, rendering, steps_logged, training
from tests.support.workers import eventually
from worker import pipe
from worker.runner import Runner

OTHERS = 20

Request = Callable[[Path], pipe.StartRender]


def requests(folder: Path) -> dict[str, Request]:
    """Every way to make a clip, each with a stack of two."""
    loras = [write_lora(folder / f"{seed}.safetensors", seed=seed, scale=0.2) for seed in (1, 2)]
    edges = write_lora(folder / "edges.safetensors", seed=3, scale=0.2, metadata=Control(kind=ControlKind.EDGES).to_metadata())
    picture, clip = write_picture(folder / "first.png", width=64, height=64), write_clip(folder / "clip.mp4", width=64, height=64)
    wanted: dict[str, dict[str, Any]] = {
        "text": {},
        "vary": {"vary": Variation(seed=3, strength=0.4)},
        "image": {"image": stored(), "files": {"image": picture}},
        "control": {"guide": Guide(video=stored()), "files": {"guide": clip}},
        "extend": {"extend": Extension(video=stored()), "files": {"clip": clip}},
        "upscale": {"upscale": Upscale(video=stored()), "geometry": geometry(width=64, height=64), "files": {"clip": clip}},
        "restyle": {"restyle": Restyle(video=stored(), strength=0.6), "files": {"clip": clip}},
    }

    def request(changes: dict[str, Any], stack: list[Path]) -> Request:
        uses = [
            adapter_use(
                lora_id=path.stem, name=f"lora-{path.stem}", weight=weight, kind=LoraKind.EFFECT if path is edges else LoraKind.STYLE
            )
            for path, weight in zip(stack, (0.9, 0.6), strict=True)
        ]
        return lambda out_dir: rendering(out_dir, stack, uses, quality=Quality.FAST, **changes)

    return {name: request(changes, [loras[0], edges if name == "control" else loras[1]]) for name, changes in wanted.items()}


async def rendered_all(runner: Runner, asked: dict[str, Request], folder: Path) -> dict[str, Any]:
    """Frames of every request, and the poster, which no codec has touched."""
    made = {}
    for name, request in asked.items():
        ending = await rendered(runner, request(folder / name))
        assert ending.poster is not None
        made[name] = (frames_of(ending.clip), pixels_of(ending.poster))
    return made


def assert_same(made: dict[str, Any], wanted: dict[str, Any], when: str) -> None:
    for name, (frames, poster) in wanted.items():
        np.testing.assert_array_equal(made[name][0], frames, err_msg=f"{name} {when}")
        np.testing.assert_array_equal(made[name][1], poster, err_msg=f"{name} {when}")


@pytest.mark.timeout(900)
async def test_every_mode_gives_the_same_frames_fresh_after_twenty_jobs_and_beside_a_training(
    pictures: tuple[Path, ...], tmp_path: Path
) -> None:
    """Bit for bit: what else the child does or did is not seen in a clip."""
    asked = requests(tmp_path)
    assert {request(tmp_path / f"looked-at-{name}").job.mode for name, request in asked.items()} == set(GenerationMode) - {
        GenerationMode.STORYBOARD
    }
    async with real_child(tmp_path / "credentials") as runner:
        wanted = await rendered_all(runner, asked, tmp_path / "fresh")
    assert len({frames.tobytes() for frames, _ in wanted.values()}) == len(wanted)

    others = [write_lora(tmp_path / f"other-{seed}.safetensors", seed=10 + seed, scale=0.3) for seed in range(6)]
    async with real_child(tmp_path / "credentials") as runner:
        for job in range(OTHERS):
            stack = [others[(job + step) % len(others)] for step in range(1 + job % 3)]
            await rendered(runner, rendering(tmp_path / f"other{job}", stack, prompt=f"scene {job}", seed=job, quality=Quality.FAST))
        backwards = dict(reversed(asked.items()))
        assert_same(await rendered_all(runner, backwards, tmp_path / "later"), wanted, "after other jobs")

        run_dir = tmp_path / "run"
        async with runner.work(training(pictures, run_dir, steps=20_000)) as work:
            await eventually(lambda: steps_logged(run_dir) >= 2, within_s=120)
            before = steps_logged(run_dir)
            assert_same(await rendered_all(runner, asked, tmp_path / "beside"), wanted, "beside a training")
            assert steps_logged(run_dir) > before
            await work.cancel()
            assert isinstance([message async for message in work.messages()][-1], pipe.WorkCancelled)
