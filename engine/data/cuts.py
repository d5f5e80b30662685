"""Where a clip cuts from one shot to the next: a window across a cut would teach the cut. Torch-free."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

VIEW_SIDE: Final = 128  # pixels of the longer side; enough to tell shots apart
_SHORTEST_SHOT: Final = 5  # frames; a flash is no shot
_LEAST_CHANGE: Final = (
    27.0  # mean change of hue, saturation and value, 0..255, below which nothing is a cut: the content detector's default
)
_ANY_RATE: Final = 24.0  # the detector counts in time codes; lengths here are in frames


class CutFinder:
    """Sees every frame of a clip in order; `starts` are the frames at which a new shot begins, without the first.

    PySceneDetect's adaptive detector: a frame is a cut when it differs from the one before far more than its neighbours do, so that
    fast motion and a panning camera are none. It asks for more change than by default: where most frames stand still, as in
    animation on twos, the ratio to the neighbours alone says little.
    """

    def __init__(self) -> None:
        from scenedetect import AdaptiveDetector, FrameTimecode

        self._timecode = FrameTimecode
        self._detector: Any = AdaptiveDetector(min_scene_len=_SHORTEST_SHOT, min_content_val=_LEAST_CHANGE)
        self._count = 0
        self.starts: list[int] = []

    def see(self, frame: NDArray[np.uint8]) -> None:
        """The next frame, [H, W, 3], BGR, `VIEW_SIDE` pixels long."""
        self.starts += [cut.frame_num for cut in self._detector.process_frame(self._timecode(self._count, _ANY_RATE), frame)]
        self._count += 1


def shots(num_frames: int, cuts: tuple[int, ...]) -> list[tuple[int, int]]:
    """(first frame, frame after the last) of every shot of a clip."""
    return [(first, after) for first, after in pairwise((0, *cuts, num_frames)) if after > first]
