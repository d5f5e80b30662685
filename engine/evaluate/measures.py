"""Figures about clips, from frames and their vectors alone; numpy, no model, no randomness.

Identity and drift share a scale. In the space of the likeness measure, the line from the bare base's clips to the training set
is the direction in which a training should move clips that ask for it, and should not move clips that do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.evaluate.identity import Features, Frames

COPY_SHARE: Final = 0.5
"""A frame is a copy when it lies closer to a training frame than this share of what lies between training frames themselves."""

_THUMB_SIDE: Final = 16


@dataclass(frozen=True)
class Direction:
    """From the base's clips (0) to the training set (1)."""

    vector: NDArray[np.float32]  # [D]

    @classmethod
    def between(cls, base: Features, training: Features) -> Direction:
        """The line between the two means."""
        return cls(training.mean(axis=0) - base.mean(axis=0))

    def moved(self, before: Features, after: Features) -> float:
        """How far clips moved along the line, `before` and `after` being of the same prompts."""
        length = float(self.vector @ self.vector)
        return float((after.mean(axis=0) - before.mean(axis=0)) @ self.vector) / max(length, 1e-9)


@dataclass(frozen=True)
class Originals:
    """Training frames to recognise copies of."""

    thumbs: NDArray[np.float32]  # [F, K]
    typical: float  # distance from a training frame to the nearest of another item, median

    @classmethod
    def of(cls, items: Sequence[Frames]) -> Originals:
        """The frames of each training item; with fewer than two items nothing is a copy."""
        thumbs = [_thumbs(frames) for frames in items]
        nearest = []
        for index, own in enumerate(thumbs):
            others = [other for position, other in enumerate(thumbs) if position != index]
            if others:
                nearest.extend(_nearest(own, np.concatenate(others)).tolist())
        return cls(np.concatenate(thumbs), float(np.median(nearest)) if nearest else 0.0)

    def copied_share(self, frames: Frames) -> float:
        """Share of `frames` that are copies."""
        return float((_nearest(_thumbs(frames), self.thumbs) < COPY_SHARE * self.typical).mean())


def motion(clip: Frames) -> float:
    """Mean absolute change from frame to frame, 0..255; 0 for a still."""
    if len(clip) < 2:
        return 0.0
    return float(np.abs(np.diff(clip.astype(np.int16), axis=0)).mean())


def motion_ratio(before: Sequence[Frames], after: Sequence[Frames]) -> float:
    """Motion of `after` relative to `before`; 1 when there was none to lose."""
    had = sum(motion(clip) for clip in before)
    return sum(motion(clip) for clip in after) / had if had > 0.0 else 1.0


def _thumbs(frames: Frames) -> NDArray[np.float32]:
    small = [np.asarray(Image.fromarray(frame).resize((_THUMB_SIDE, _THUMB_SIDE), Image.Resampling.BOX)) for frame in frames]
    return np.stack(small).reshape(len(frames), -1).astype(np.float32)


def _nearest(ones: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Root mean square distance of each row of `ones` to the nearest row of `others`."""
    squares = [np.square(others - one).mean(axis=1).min() for one in ones]
    return np.sqrt(np.asarray(squares, dtype=np.float32))
