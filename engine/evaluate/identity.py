"""What frames show, as vectors that can be compared: one interface, a vision model where there is one, plain colours elsewhere.

Nothing here knows any base's world. A vision model is named in the base's entry (DINOv2, SigLIP, …) and loaded by transformers;
without one, colour correlograms are compared (Huang et al., "Image Indexing Using Color Correlograms", CVPR 1997): which colours
there are, and which of them lie beside and above which, wherever in the picture.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from engine.errors import BaseUnavailableError

Frames = NDArray[np.uint8]  # [F, H, W, 3]
Features = NDArray[np.float32]  # [F, D], rows of length 1

_log = logging.getLogger(__name__)


class Likeness(Protocol):
    """Sees frames."""

    @property
    def name(self) -> str:
        """What a report calls it."""

    def features(self, frames: Frames) -> Features:
        """A unit vector per frame; the closer two are, the more the frames show the same."""


class Correlogram:
    """Colours and their neighbourhoods; runs anywhere, in about a millisecond a frame."""

    name = "colour correlogram"

    _SIDE: Final = 32  # pixels frames are reduced to
    _LEVELS: Final = 4  # per channel
    _DISTANCES: Final = (2, 4, 8)

    def features(self, frames: Frames) -> Features:
        """A unit vector per frame: for each distance and direction, how often colour j follows colour i."""
        return np.stack([self._one(frame) for frame in frames])

    def _one(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        small = np.asarray(Image.fromarray(frame).resize((self._SIDE, self._SIDE), Image.Resampling.BOX), dtype=np.int64)
        levels = small * self._LEVELS // 256
        colour = (levels[..., 0] * self._LEVELS + levels[..., 1]) * self._LEVELS + levels[..., 2]  # [H, W]
        count = self._LEVELS**3
        parts = []
        for distance in self._DISTANCES:
            for first, second in ((colour[:, :-distance], colour[:, distance:]), (colour[:-distance], colour[distance:])):
                pairs = np.bincount((first * count + second).ravel(), minlength=count * count)
                parts.append(np.sqrt(pairs / pairs.sum()))  # Hellinger: rare colours count, large areas do not drown them
        vector = np.concatenate(parts).astype(np.float32)
        return vector / np.float32(np.linalg.norm(vector))


class VisionModel:
    """A vision backbone of transformers; its pooled output is the vector.

    Raises:
        BaseUnavailableError: Its weights are not here.
    """

    def __init__(self, model_id: str, device: torch.device) -> None:
        from transformers import AutoImageProcessor, AutoModel

        try:
            self._processor: Any = AutoImageProcessor.from_pretrained(model_id)  # type: ignore[no-untyped-call]
            self._model: Any = AutoModel.from_pretrained(model_id).eval().requires_grad_(False).to(device)
        except (OSError, ValueError) as error:
            raise BaseUnavailableError(f"The vision model {model_id} is not here: {error}") from error
        self._device = device
        self.name = model_id

    @torch.no_grad()
    def features(self, frames: Frames) -> Features:
        """A unit vector per frame."""
        inputs = self._processor(images=[Image.fromarray(frame) for frame in frames], return_tensors="pt").to(self._device)
        if hasattr(self._model, "get_image_features"):  # SigLIP, CLIP
            found = self._model.get_image_features(**inputs)
            pooled = getattr(found, "pooler_output", found)
        else:  # DINOv2
            pooled = self._model(**inputs).pooler_output
        vectors: Features = torch.nn.functional.normalize(pooled.float(), dim=-1).cpu().numpy()
        return vectors


def likeness_for(model_id: str | None, device: torch.device) -> Likeness:
    """The vision model `model_id`; colours when none is named or its weights are not on this machine, which is logged."""
    if model_id is None:
        return Correlogram()
    try:
        return VisionModel(model_id, device)
    except BaseUnavailableError as error:
        _log.warning("likeness is measured by colours alone: %s", error)
        return Correlogram()


def spread_frames(clips: Sequence[Frames], per_clip: int) -> Frames:
    """Up to `per_clip` frames of each clip, evenly spread, on one pile [F, H, W, 3]; clips of other sizes are fitted to the first's."""
    height, width = clips[0].shape[1:3]
    picked: list[NDArray[np.uint8]] = []
    for clip in clips:
        indices = np.unique(np.linspace(0, len(clip) - 1, per_clip).round().astype(int))
        picked.extend(_fitted(clip[index], width, height) for index in indices)
    return np.stack(picked)


def _fitted(frame: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    if frame.shape[:2] == (height, width):
        return frame
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BOX), dtype=np.uint8)
