"""The one way from a clip's frames to its guiding frames, in training and in sampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.contracts.controls import Control, ControlKind, ControlModels
from engine.control.edges import edges
from engine.data.buckets import fit_frames

if TYPE_CHECKING:
    from engine.model.loader import ResidentBase

Frames = NDArray[np.uint8]  # [F, H, W, 3], RGB
Extractor = Callable[[Frames], Frames]


def extractor_for(kind: ControlKind, device: str = "cpu", models: ControlModels | None = None) -> Extractor:
    """What makes guiding frames of a clip's frames, at the same size and in the same number.

    Raises:
        BaseUnavailableError: the model for depth or pose is not on this machine.
    """
    match kind:
        case ControlKind.EDGES:
            return edges
        case ControlKind.DEPTH:
            from engine.control.depth import DepthExtractor

            return DepthExtractor.load(models or ControlModels(), device)
        case ControlKind.POSE:
            from engine.control.pose import PoseExtractor

            return PoseExtractor.load(models or ControlModels(), device)
        case ControlKind.VIDEO:
            return _as_it_is


def extractor_of(resident: ResidentBase, kind: ControlKind) -> Extractor:
    """The same on the base's device with its configured models, loaded once.

    Raises:
        BaseUnavailableError: as `extractor_for`.
    """
    if kind.value not in resident.extras:
        resident.extras[kind.value] = extractor_for(kind, str(resident.device), resident.control_models)
    extract: Extractor = resident.extras[kind.value]
    return extract


def guiding_frames(frames: Frames, control: Control, width: int, height: int, extract: Extractor) -> Frames:
    """Guide of a clip of `width` x `height` pixels: `frames` of any size fitted to `side / downscale`, then extracted.

    Outlines are drawn at the size they are encoded at, so that they stay one pixel wide whatever the factor.
    """
    return extract(fit_frames(frames, width // control.downscale, height // control.downscale))


def _as_it_is(frames: Frames) -> Frames:
    return frames
