"""Outlines of a clip. Torch-free."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

LOW, HIGH = 100, 200
"""Canny's thresholds on 8-bit gradients, those of Lightricks' own canny IC-LoRAs (reference ltx-2.3.md §3.5)."""

_WHITE: Final = 255


def edges(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """White outlines one pixel wide on black, [F, H, W, 3], of RGB frames [F, H, W, 3].

    Every colour channel counts: each pixel is judged by the channel that changes most, so that red on green of the same
    brightness has an outline too. Frames must have the size they are encoded at: pixel art enlarged by nearest neighbour
    would be outlined step by step, and lines drawn on a large picture vanish when it is shrunk.
    """
    found = np.stack([cv2.Canny(np.ascontiguousarray(frame), LOW, HIGH) for frame in frames])  # [F, H, W], 0 or 255
    return np.repeat(np.asarray(found == _WHITE, dtype=np.uint8)[..., None] * np.uint8(_WHITE), 3, axis=3)
