"""Weak items worth telling before the GPU runs: blurry, dark, bright, flat, near-duplicate, small, framed or lettered ones.

Torch-free. `look_at` measures one picture (for a clip: its first frame); `notes_of` turns measures into notes. The thresholds are
deliberately lax: a note is shown to a person and never refuses a file.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.contracts.media import MediaNote, alike
from engine.data.overlays import has_borders, has_text

_VIEW_SIDE = 64  # pixels; measures are taken at this size, so that they mean the same for every picture and grain does not count
_THUMB_SIDE = 8
_SHOWN_SIDE = 128  # pixels, on a report
_DARK, _BRIGHT = 0.08, 0.95  # mean luma, 0..1
_FLAT = 0.02  # standard deviation of luma
_BLURRY = 0.025  # sharpness; a disc in front of a soft sky has 0.11 in focus and 0.02 behind a blur of a fortieth of its width
_HASH_SIDE = 16  # 256 bits


@dataclass(frozen=True)
class Look:
    """Measures of one picture; plain numbers, so that they cross a process border as JSON."""

    brightness: float  # mean luma, 0..1
    contrast: float  # standard deviation of luma
    sharpness: float  # deviation of the Laplacian in relation to that of luma, 0 for a flat picture
    fingerprint: str  # see `engine.contracts.media.alike`
    has_borders: bool = False
    has_text: bool = False
    thumb: str = ""  # a small JPEG, hexadecimal, for reports


def look_at(picture: Image.Image, last: Image.Image | None = None) -> Look:
    """Measure an RGB picture of any size: a still, or the first frame of a clip that ends with `last`."""
    view = picture.copy()
    view.thumbnail((_VIEW_SIDE, _VIEW_SIDE), Image.Resampling.BOX)
    luma = np.asarray(view.convert("L"), dtype=np.float32) / 255.0  # [H, W]
    contrast = float(luma.std())
    sharpness = float(_laplacian(luma).std()) / (4 * contrast) if contrast > 0 else 0.0
    fingerprint = fingerprint_of(picture) if last is None else f"{fingerprint_of(picture)}{fingerprint_of(last)}"
    return Look(float(luma.mean()), contrast, sharpness, fingerprint, has_borders(picture), has_text(picture), _thumb(picture).hex())


def fingerprint_of(picture: Image.Image) -> str:
    """Perceptual hash of 256 bits (ImageHash's DCT hash) and an 8x8 RGB thumbnail, hexadecimal."""
    bits = np.packbits(imagehash.phash(picture, hash_size=_HASH_SIDE).hash)
    thumb = picture.resize((_THUMB_SIDE, _THUMB_SIDE), Image.Resampling.BOX).tobytes()
    return bits.tobytes().hex() + thumb.hex()


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
    if look.has_borders:
        notes.append(MediaNote.BORDERS)
    if look.has_text:
        notes.append(MediaNote.TEXT)
    if any(alike(look.fingerprint, other.fingerprint) for other in earlier):
        notes.append(MediaNote.NEAR_DUPLICATE)
    if wanted_side is not None and shorter_side < wanted_side:
        notes.append(MediaNote.SMALL)
    return tuple(notes)


def _thumb(picture: Image.Image) -> bytes:
    """A JPEG of at most `_SHOWN_SIDE` pixels; pixel art is enlarged whole, so that it stays crisp on a report."""
    scale = max(1, _SHOWN_SIDE // max(picture.size))
    shown = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST) if scale > 1 else picture.copy()
    shown.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE), Image.Resampling.BOX)
    stream = io.BytesIO()
    shown.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def _laplacian(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Five-point Laplacian of the inner pixels, [H-2, W-2]; zeros for a picture without any."""
    if min(luma.shape) < 3:
        return np.zeros((1, 1), dtype=np.float32)
    inner = luma[1:-1, 1:-1]
    return luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * inner
