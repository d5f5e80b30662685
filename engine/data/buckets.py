"""From pictures and clips of any size to the few sizes a base trains on. Torch-free.

An item is scaled to cover its bucket and cropped at the centre; a clip is resampled to the base's frame rate and cut
into windows spread over its length, so that the rest of a long clip is not wasted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.contracts.geometry import GeometryRule

MAX_WINDOWS: Final = 4
"""Windows taken from one clip; more would let one long clip outweigh the rest of the set."""

_ASPECT_LIMIT: Final = 2.0


@dataclass(frozen=True, order=True)
class Bucket:
    """A size items are trained at; a still has one frame."""

    width: int  # pixels
    height: int
    num_frames: int


def sizes(width: int, height: int, rule: GeometryRule) -> list[tuple[int, int]]:
    """Sizes of about `width * height` pixels with sides the base allows, from twice as wide as high to the reverse."""
    unit = rule.spatial_multiple
    found = {(width, height)}
    for columns in range(1, max(width, height) * 2 // unit + 1):
        side = columns * unit
        other = max(unit, round(width * height / side / unit) * unit)
        if 1 / _ASPECT_LIMIT <= side / other <= _ASPECT_LIMIT and side * other <= width * height:
            found.add((side, other))
    return sorted(found)


def choose(
    item_width: int, item_height: int, available_frames: int, options: list[tuple[int, int]], max_frames: int, stride: int
) -> Bucket:
    """The bucket nearest in shape (log aspect ratio), larger first, with as many whole strides of frames as there are.

    `available_frames` counts frames at the base's rate; 1 is a still.
    """
    shape = math.log(item_width / item_height)
    width, height = min(options, key=lambda size: (round(abs(shape - math.log(size[0] / size[1])), 6), -size[0] * size[1]))
    frames = (min(available_frames, max_frames) - 1) // stride * stride + 1
    return Bucket(width, height, frames)


def window_starts(available_frames: int, window: int) -> list[int]:
    """First frames of the windows taken from a clip: evenly spread, not overlapping, at most `MAX_WINDOWS`; one if it is a still."""
    count = 1 if window == 1 else min(MAX_WINDOWS, max(1, available_frames // window))
    room = available_frames - window
    return [round(room * index / (count - 1)) if count > 1 else room // 2 for index in range(count)]


def resampled_indices(num_frames: int, fps: float, target_fps: float) -> list[int]:
    """Source frame for every frame at `target_fps`: the one shown at that time."""
    count = max(1, math.floor(num_frames / fps * target_fps + 1e-6))
    return [min(num_frames - 1, math.floor(index * fps / target_fps + 1e-6)) for index in range(count)]


def fit(picture: Image.Image, width: int, height: int) -> NDArray[np.uint8]:
    """`picture` scaled to cover `width` x `height` and cropped at the centre: [height, width, 3].

    A whole factor down is averaged, which brings enlarged pixel art back exactly; anything else is resampled.
    """
    scale = max(width / picture.width, height / picture.height)
    covered = (max(width, round(picture.width * scale)), max(height, round(picture.height * scale)))
    if covered != picture.size:
        whole = scale < 1 and picture.width % covered[0] == 0 and picture.height % covered[1] == 0
        picture = picture.resize(covered, Image.Resampling.BOX if whole else Image.Resampling.LANCZOS)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return np.asarray(picture.convert("RGB").crop((left, top, left + width, top + height)), dtype=np.uint8)


def fit_frames(frames: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Every frame of a clip [F, H, W, 3] fitted as by `fit`: [F, height, width, 3]."""
    return np.stack([fit(Image.fromarray(frame), width, height) for frame in frames])
