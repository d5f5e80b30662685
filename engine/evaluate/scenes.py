"""How much the scenes of a storyboard show the same subject, whatever is behind it: the judge that `engine.sample` re-rolls by.

The subject is what moves: pixels that differ from the clip's median picture. Everything else is painted over in grey, and what an
all-grey frame looks like is taken out of the vectors, so that two scenes are alike by their subject alone. A clip in which nothing
moves, or everything does, is compared as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.evaluate.identity import Frames, Likeness, likeness_for, spread_frames
from engine.model.loader import ResidentBase

_MOVES: Final = 24  # of 255, in the channel that changes most
_SHARES: Final = (0.02, 0.6)  # of all pixels that a subject may be
_GREY: Final = 128
_FRAMES_PER_CLIP: Final = 9


class SceneJudge:
    """An `engine.ports.IdentityJudge` on any measure of likeness."""

    def __init__(self, likeness: Likeness) -> None:
        self._likeness = likeness

    def likeness(self, clips: Sequence[Frames]) -> list[float]:
        """For every clip the mean cosine between its subject's vector and those of the other clips, 0..1."""
        vectors = np.stack([self._vector(clip) for clip in clips])  # [clips, D]
        alike = (vectors @ vectors.T).clip(0.0, 1.0)
        return [float(np.delete(row, index).mean()) for index, row in enumerate(alike)]

    def _vector(self, clip: Frames) -> NDArray[np.float64]:
        frames = spread_frames([subject_of(clip)], _FRAMES_PER_CLIP)
        nothing = self._likeness.features(np.full_like(frames[:1], _GREY))[0].astype(np.float64)
        seen = self._likeness.features(frames).astype(np.float64)
        mean = (seen - (seen @ nothing)[:, None] * nothing).mean(axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9))


def judge_for(resident: ResidentBase) -> SceneJudge:
    """The judge of a base's storyboards, with the base's measure of likeness; a vision model is loaded once."""
    if "judge" not in resident.extras:
        resident.extras["judge"] = SceneJudge(likeness_for(resident.base.likeness, resident.device))
    judge: SceneJudge = resident.extras["judge"]
    return judge


def subject_of(clip: Frames) -> Frames:
    """The clip with all that stands still painted grey, or as it is when nothing moves or everything does."""
    still = np.median(clip, axis=0)
    moves = np.abs(clip.astype(np.float32) - still).max(axis=-1) > _MOVES  # [F, H, W]
    if not _SHARES[0] < float(moves.mean()) < _SHARES[1]:
        return clip
    return np.where(moves[..., None], clip, np.uint8(_GREY))
