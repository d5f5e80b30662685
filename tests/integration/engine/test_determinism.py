"""One request and seed is one clip: on a fresh process, after many other jobs, and in the middle of a training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from engine.config import ExtendedVideo, RestyledVideo, SampleConfig
from engine.contracts.generation import Quality, Variation
from engine.contracts.geometry import Geometry
from engine.contracts.lora import LoraKind
from engine.model.adapters import AdapterStack, LoadedUse, save_lora
from engine.model.loader import ResidentBase
from engine.sample.generate import generate
from engine.sample.video import write_mp4
from tests.support.contracts import manifest
from tests.support.engine import checksum, run_to_end, start_run, write_pictures

SIZE = Geometry(width=32, height=32, num_frames=9, fps=8)
STEPS = 4
DEADLINE_S = 240.0


def config(**changes: Any) -> SampleConfig:
    return SampleConfig(**{"prompt": "a red ball on a beach", "geometry": SIZE, "seed": 7, "num_inference_steps": STEPS, **changes})


def write_lora(path: Path, tiny: ResidentBase, seed: int, blocks: int = 2) -> LoadedUse:
    generator = torch.Generator().manual_seed(seed)
    modules = {}
    for index in range(blocks):
        name = f"transformer_blocks.{index}.attn1.to_{'qkv'[seed % 3]}"
        layer = tiny.transformer.get_submodule(name)
        down = torch.randn(4, layer.in_features, generator=generator) * 0.2
        modules[name] = (down, torch.randn(layer.out_features, 4, generator=generator) * 0.2)
    save_lora(path, modules, manifest(rank=4, trigger=None), torch.float32)
    return LoadedUse(path, f"lora-{seed}", 0.8, None, LoraKind.CHARACTER)


def fresh_frames(folder: Path, use: LoadedUse) -> NDArray[np.uint8]:
    """The same clip from a shell, frame by frame."""
    command = [
        sys.executable, "-m", "engine", "generate", "--prompt", "a red ball on a beach", "--seed", "7", "--steps", str(STEPS),
        "--lora", f"{use.path}:{use.weight}", "--out", folder / "clip.mp4", "--frames", folder / "frames", "--json",
    ]  # fmt: skip
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
    return np.stack([np.asarray(Image.open(path)) for path in sorted((folder / "frames").iterdir())])


def test_clip_is_the_same_on_a_fresh_process_after_twenty_jobs_and_beside_a_training(tiny: ResidentBase, tmp_path: Path) -> None:
    """Bit for bit, whatever the resident base has been through; and the training's file is that of one that nobody disturbed."""
    uses = [write_lora(tmp_path / f"{index}.safetensors", tiny, index) for index in range(10)]
    mine, before = uses[0], checksum(tiny)
    wanted = generate(tiny, config(), [mine]).frames
    write_mp4(generate(tiny, config(), [mine]), tmp_path / "clip.mp4", max_bytes=10**7, min_side=256)
    others: list[dict[str, Any]] = [
        {},
        {"vary": Variation(seed=3, strength=0.5)},
        {"restyle": RestyledVideo(path=tmp_path / "clip.mp4", strength=0.7)},
        {"extend": ExtendedVideo(path=tmp_path / "clip.mp4")},
        {"quality": Quality.FAST, "num_inference_steps": 2},
    ]
    for job in range(20):
        stack = uses[job % 10 : job % 10 + 1 + job % 3]
        generate(tiny, config(prompt=f"scene {job}", seed=job, **others[job % len(others)]), stack)
    assert np.array_equal(generate(tiny, config(), [mine]).frames, wanted)
    assert np.array_equal(fresh_frames(tmp_path / "fresh", mine), wanted)

    items = write_pictures(tmp_path / "pictures")
    AdapterStack(tiny).forget()
    with start_run(tiny, items, tmp_path / "alone") as run:
        alone = run_to_end(run).read_bytes()
    with start_run(tiny, items, tmp_path / "disturbed") as run:
        while not run.finished:
            run.step()
            assert np.array_equal(generate(tiny, config(), [mine]).frames, wanted)
        disturbed = run.finish().path.read_bytes()
    assert weights_of(disturbed) == weights_of(alone)
    AdapterStack(tiny).forget()
    assert checksum(tiny) == before


def weights_of(data: bytes) -> bytes:
    """A safetensors file without its header, which says when it was made."""
    return data[8 + int.from_bytes(data[:8], "little") :]
