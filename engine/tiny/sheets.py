"""Pictures of a training run: contact sheets of clips and the loss curve."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from engine.tiny.architecture import generation_defaults

SAMPLE_PROMPTS: Final = (
    "a red ball with a blue top hat walking left in a forest",
    "a yellow robot with white boots walking right on a beach",
    "a blue cone jumping on the moon",
    "a green mushroom with a pink crown floating up in a cave",
    "a white tower with a red wizard hat falling down in the snow",
    "a purple box standing still in a kitchen",
    "a cyan ball with orange boots running right in a castle",
    "an orange robot with a green top hat running left in a city at night",
    "a pink mushroom walking right under the sea in frost style",
    "a brown cone with a yellow crown walking left in a desert in ember style",
    "a creature jumping on a meadow",
    "a character walking left near a volcano",
)
_LABEL_PX: Final = 14
_SHOWN_FRAMES: Final = (0, 2, 4, 6, 8)


def generate(pipe: Any, prompts: list[str] | tuple[str, ...], seed: int = 0, num_frames: int = 9) -> NDArray[np.uint8]:
    """Clips [prompts, F, H, W, 3] uint8 with the base's own sampling defaults, one generator per clip."""
    options = generation_defaults() | {"num_frames": num_frames}
    generators = [torch.Generator().manual_seed(seed + i) for i in range(len(prompts))]
    with torch.no_grad():
        frames = pipe(list(prompts), **options, output_type="np", generator=generators).frames
    clips: NDArray[np.float32] = np.asarray(frames)
    return (clips.clip(0.0, 1.0) * 255.0).round().astype(np.uint8)


def draw_samples(pipe: Any, file: Path, prompts: tuple[str, ...] = SAMPLE_PROMPTS, seed: int = 0) -> None:
    """Generate `prompts` and write a labelled contact sheet."""
    save_sheet(file, list(generate(pipe, prompts, seed)), list(prompts))


def save_sheet(
    file: Path, clips: list[NDArray[np.uint8]], labels: list[str], columns: int = 2, scale: int = 3, frames: tuple[int, ...] = _SHOWN_FRAMES
) -> None:
    """Write clips [F, H, W, 3] as rows of frames with a label above each; frames beyond a clip's end are left out."""
    strips = []
    for clip in clips:
        shown = [clip[i] for i in frames if i < len(clip)]
        strips.append(np.concatenate(shown, axis=1).repeat(scale, axis=0).repeat(scale, axis=1))
    width = max(strip.shape[1] for strip in strips) + 4
    height = max(strip.shape[0] for strip in strips) + _LABEL_PX + 2
    rows = -(-len(strips) // columns)
    sheet = Image.new("RGB", (width * columns, height * rows), (20, 20, 24))
    pen = ImageDraw.Draw(sheet)
    for i, (strip, label) in enumerate(zip(strips, labels, strict=True)):
        left, top = width * (i % columns), height * (i // columns)
        pen.text((left + 2, top + 1), label[:90], fill=(230, 230, 230))
        sheet.paste(Image.fromarray(strip), (left, top + _LABEL_PX))
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(file)


def plot_losses(source: Path, file: Path) -> None:
    """Draw the smoothed loss of every kind of batch over the steps; `source` as written by `pretrain`."""
    from matplotlib.figure import Figure

    series: dict[str, list[tuple[int, float]]] = defaultdict(list)
    with source.open(newline="") as lines:
        for step, num_frames, given, loss, _elapsed in csv.reader(lines):
            series[f"{num_frames} frames{', first given' if int(given) else ''}"].append((int(step), float(loss)))
    figure = Figure(figsize=(8, 4.5))
    axes = figure.add_subplot()
    for name, points in sorted(series.items()):
        steps, losses = np.array(points).T
        window = max(1, min(50, len(losses) // 10))
        axes.plot(steps[window - 1 :], np.convolve(losses, np.ones(window) / window, mode="valid"), label=name)
    axes.set(xlabel="step", ylabel="loss", yscale="log", title="Tiny base: flow-matching loss")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=110)
