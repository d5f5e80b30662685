"""From pictures and clips of any size to the few sizes a base trains on. Torch-free.

An item is scaled to cover its bucket and cropped at the centre; a clip is resampled to the base's frame rate, split at its cuts, and
windows are spread over each shot, so that the rest of a long clip is not wasted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.contracts.geometry import GeometryRule

MAX_WINDOWS: Final = 4
"""Windows taken from one clip; more would let one long clip outweigh the rest of the set."""

MAX_LENGTHS: Final = 3

_ASPECT_LIMIT: Final = 2.0
_WORTH_A_LENGTH: Final = 1.1


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


def nearest_size(width: int, height: int, options: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The size nearest in shape (log aspect ratio) to an item's, the larger of two equally near ones."""
    shape = math.log(width / height)
    return min(options, key=lambda size: (round(abs(shape - math.log(size[0] / size[1])), 6), -size[0] * size[1]))


def choose_lengths(available: Sequence[int], max_frames: int, stride: int) -> tuple[int, ...]:
    """A few clip lengths, `stride * k + 1` frames each, that suit a whole set; longest first.

    `available` counts the frames of every shot at the base's rate. The shortest shot sets the first length, so that every shot is
    trained on; a longer one is added, up to `MAX_LENGTHS`, while it lengthens what is learned from by a tenth or more. Few lengths keep
    buckets large enough to fill batches with different clips.
    """
    usable = [min(frames, max_frames) for frames in available if frames > stride]
    if not usable:
        return ()
    chosen = [_whole(min(usable), stride)]
    options = sorted({_whole(frames, stride) for frames in usable} - set(chosen))
    while options and len(chosen) < MAX_LENGTHS:
        best = max(options, key=lambda length: _seen(usable, [*chosen, length]))
        if _seen(usable, [*chosen, best]) < _WORTH_A_LENGTH * _seen(usable, chosen):
            break
        chosen.append(best)
        options.remove(best)
    return tuple(sorted(chosen, reverse=True))


def length_for(available: int, lengths: Sequence[int]) -> int:
    """The longest of `lengths` that `available` frames hold; 1, a still, when none fits."""
    return max((length for length in lengths if length <= available), default=1)


def window_starts(available_frames: int, window: int) -> list[int]:
    """First frames of the windows taken from a clip: evenly spread, not overlapping, at most `MAX_WINDOWS`; one if it is a still."""
    count = 1 if window == 1 else min(MAX_WINDOWS, max(1, available_frames // window))
    room = available_frames - window
    return [round(room * index / (count - 1)) if count > 1 else room // 2 for index in range(count)]


def resampled_indices(num_frames: int, fps: float, target_fps: float) -> list[int]:
    """Source frame for every frame at `target_fps`: the one shown at that time."""
    count = max(1, math.floor(num_frames / fps * target_fps + 1e-6))
    return [min(num_frames - 1, math.floor(index * fps / target_fps + 1e-6)) for index in range(count)]


def _whole(frames: int, stride: int) -> int:
    return (frames - 1) // stride * stride + 1


def _seen(available: Sequence[int], lengths: Sequence[int]) -> int:
    """Frames of all windows together when every shot takes the longest length it holds."""
    return sum(length_for(frames, lengths) for frames in available)


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
