"""Weaknesses of a training set worth telling before the GPU runs: blurry, dark, bright, flat, near-duplicate, small items.

Torch-free. `look_at` measures one picture (for a clip: its first frame); `notes_of` turns measures into notes. The thresholds are
deliberately lax: a note is shown to a person and never refuses a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.contracts.media import MediaNote

_VIEW_SIDE = 64  # pixels; measures are taken at this size, so that they mean the same for every picture and grain does not count
_THUMB_SIDE = 8
_DARK, _BRIGHT = 0.08, 0.95  # mean luma, 0..1
_FLAT = 0.02  # standard deviation of luma
_BLURRY = 0.025  # sharpness; a disc in front of a soft sky has 0.11 in focus and 0.02 behind a blur of a fortieth of its width
_NEAR = 0.015  # mean difference of 8x8 RGB thumbnails, 0..1


@dataclass(frozen=True)
class Look:
    """Measures of one picture; plain numbers, so that they cross a process border as JSON."""

    brightness: float  # mean luma, 0..1
    contrast: float  # standard deviation of luma
    sharpness: float  # deviation of the Laplacian in relation to that of luma, 0 for a flat picture
    thumb: str  # 8x8 RGB, hexadecimal


def look_at(picture: Image.Image) -> Look:
    """Measure an RGB picture of any size."""
    view = picture.copy()
    view.thumbnail((_VIEW_SIDE, _VIEW_SIDE), Image.Resampling.BOX)
    luma = np.asarray(view.convert("L"), dtype=np.float32) / 255.0  # [H, W]
    thumb = picture.resize((_THUMB_SIDE, _THUMB_SIDE), Image.Resampling.BOX).tobytes()
    contrast = float(luma.std())
    sharpness = float(_laplacian(luma).std()) / (4 * contrast) if contrast > 0 else 0.0
    return Look(brightness=float(luma.mean()), contrast=contrast, sharpness=sharpness, thumb=thumb.hex())


def notes_of(look: Look, earlier: Sequence[Look], shorter_side: int, wanted_side: int | None) -> tuple[MediaNote, ...]:
    """What to tell about an item after `earlier` ones; `wanted_side` is the side a base trains at, in pixels."""
    notes: list[MediaNote] = []
    if look.brightness < _DARK:
        notes.append(MediaNote.DARK)
    if look.brightness > _BRIGHT:
        notes.append(MediaNote.BRIGHT)
    if look.contrast < _FLAT:
        notes.append(MediaNote.LOW_CONTRAST)
    elif look.sharpness < _BLURRY:
        notes.append(MediaNote.BLURRY)
    if any(_distance(look, other) < _NEAR for other in earlier):
        notes.append(MediaNote.NEAR_DUPLICATE)
    if wanted_side is not None and shorter_side < wanted_side:
        notes.append(MediaNote.SMALL)
    return tuple(notes)


def _laplacian(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Five-point Laplacian of the inner pixels, [H-2, W-2]; zeros for a picture without any."""
    if min(luma.shape) < 3:
        return np.zeros((1, 1), dtype=np.float32)
    inner = luma[1:-1, 1:-1]
    return luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * inner


def _distance(one: Look, other: Look) -> float:
    a, b = (np.frombuffer(bytes.fromhex(look.thumb), dtype=np.uint8).astype(np.float32) for look in (one, other))
    return float(np.abs(a - b).mean() / 255.0)
