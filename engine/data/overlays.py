"""What does not belong to a picture itself: bars at its edges, letters burnt into it. Torch-free; both only ever lead to a note."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

_WORK_SIDE: Final = 512  # pixels; letters of a subtitle are 10 to 40 px tall at this size
_LEAST_SIDE: Final = 200  # pixels; nobody reads letters in a smaller picture
_FLAT: Final = 6.0  # range of 8-bit values within a bar, compression included
_LEAST_BAR: Final = 0.03  # of the side
_LEAST_LETTERS: Final = 6  # in a row
_STROKE: Final = (0.15, 0.75)  # share of a letter's box that is ink


def has_borders(picture: Image.Image) -> bool:
    """True for an RGB picture between two bars of one flat colour: letterbox, pillar box, frame."""
    luma = np.asarray(picture.convert("L"), dtype=np.float32)
    return _has_bars(luma) or _has_bars(luma.T)


def has_text(picture: Image.Image) -> bool:
    """True when an RGB picture has a line of what looks like letters: many parts of one height, side by side, dense like ink."""
    if min(picture.size) < _LEAST_SIDE:
        return False
    view = picture.copy()
    view.thumbnail((_WORK_SIDE, _WORK_SIDE), Image.Resampling.BOX)
    grey = np.asarray(view.convert("L"), dtype=np.uint8)
    return any(
        _has_line(np.asarray(cv2.morphologyEx(grey, operation, _KERNEL), dtype=np.uint8))
        for operation in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)
    )


_KERNEL: Final = np.ones((15, 15), np.uint8)  # wider than a stroke, so that only strokes remain


def _has_bars(luma: NDArray[np.float32]) -> bool:
    """Bars along the first axis of [rows, columns]: flat at both ends, and the picture between them is not."""
    ranges = luma.max(axis=1) - luma.min(axis=1)
    flat = (ranges <= _FLAT) & (np.abs(luma.mean(axis=1) - luma[0].mean()) <= _FLAT)
    if flat.all():
        return False
    top, bottom = int(np.argmin(flat)), int(np.argmin(flat[::-1]))
    least = max(2, round(len(luma) * _LEAST_BAR))
    if top < least or bottom < least:
        return False
    inside = luma[top : len(luma) - bottom]
    edge = float(np.abs(inside[0] - luma[0].mean()).mean())
    return edge > 4 * _FLAT  # a sky that is flat up to the horizon does not end as sharply on both sides


def _has_line(strokes: NDArray[np.uint8]) -> bool:
    threshold, ink = cv2.threshold(strokes, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    if threshold < 40:  # faint structure is texture
        return False
    _, _, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    letters = [
        (int(top), int(left), int(height))
        for left, top, width, height, area in stats[1:]
        if 7 <= height <= 48 and 2 <= width <= 2.5 * height and _STROKE[0] <= area / (width * height) <= _STROKE[1]
    ]
    return any(_row(letters, top, height) >= _LEAST_LETTERS for top, _, height in letters)


def _row(letters: list[tuple[int, int, int]], top: int, height: int) -> int:
    """Letters that stand on the same line as one of this place and height, none farther from the next than three heights."""
    peers = sorted(
        left
        for other, left, tall in letters
        if abs((other + tall) - (top + height)) <= 0.25 * height and 0.6 * height <= tall <= 1.6 * height
    )
    longest = run = 1
    for one, following in pairwise(peers):
        run = run + 1 if following - one <= 3 * height else 1
        longest = max(longest, run)
    return longest
