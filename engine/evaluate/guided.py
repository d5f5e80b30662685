"""How well clips follow the videos that guide them: what guides a clip is taken from the result again and compared.

The measure knows no kind of guide: outlines, depth and poses are pictures, and so are the frames of a video-to-video pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.control.extract import Extractor, Frames

_SOFTNESS: Final = 1 / 32
"""Standard deviation of the blur before comparing, in widths of the frame: an outline a pixel beside its place is nearly right."""


@dataclass(frozen=True)
class Adherence:
    """Clips as their guides want them, and how near the bare base comes to them by chance."""

    extract: Extractor
    wanted: Sequence[NDArray[np.float32]]  # softened signal of each true clip
    by_chance: float

    @classmethod
    def to(cls, truths: Sequence[Frames], unguided: Sequence[Frames], extract: Extractor) -> Adherence:
        """What guided clips are compared with: the true clips, and those of the bare base for the same prompts."""
        wanted = [_softened(extract(clip)) for clip in truths]
        return cls(extract, wanted, _mean_match(unguided, wanted, extract))

    def of(self, clips: Sequence[Frames]) -> float:
        """0: as the bare base, which sees no guide; 1: the guide itself. `clips` are in the order of the true ones."""
        return (_mean_match(clips, self.wanted, self.extract) - self.by_chance) / max(1.0 - self.by_chance, 1e-6)


def _mean_match(clips: Sequence[Frames], wanted: Sequence[NDArray[np.float32]], extract: Extractor) -> float:
    """Mean correlation of signals, -1..1."""
    return fmean(_correlation(_softened(extract(clip)), signal) for clip, signal in zip(clips, wanted, strict=True))


def _softened(signal: Frames) -> NDArray[np.float32]:
    spread = signal.shape[2] * _SOFTNESS
    return np.stack([cv2.GaussianBlur(frame.astype(np.float32), (0, 0), spread) for frame in signal])


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Pearson's, over all pixels of all frames; 0 when either shows nothing at all."""
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float((one * other).sum()) / scale if scale > 0.0 else 0.0
