"""Depth of a clip by a monocular depth model: near is bright, far is dark, on one scale for the whole clip."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from engine.contracts.controls import ControlModels
from engine.control.models import loaded

_FRAMES_AT_ONCE = 8
_OUTLIERS = (1.0, 99.0)  # percentiles that become black and white, so that one odd pixel does not grey out the rest


class DepthExtractor:
    """Calls a transformers depth-estimation model frame by frame."""

    def __init__(self, processor: Any, model: Any, device: str) -> None:
        self._processor = processor
        self._model = model.to(device).eval().requires_grad_(False)
        self._device = device

    @classmethod
    def load(cls, models: ControlModels, device: str = "cpu") -> Self:
        """The depth model.

        Raises:
            BaseUnavailableError: it is not on this machine and cannot be fetched.
        """
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation

        processor = loaded("depth", models.depth, AutoImageProcessor)
        model = loaded("depth", models.depth, AutoModelForDepthEstimation, use_safetensors=True)
        return cls(processor, model, device)

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Grey frames [F, H, W, 3] of RGB frames [F, H, W, 3]."""
        depth = np.concatenate(list(self._measured(frames)))  # [F, H, W], larger is nearer
        low, high = np.percentile(depth, _OUTLIERS)
        scaled = np.clip((depth - low) / max(float(high - low), 1e-6), 0.0, 1.0)
        return np.repeat((scaled * 255).round().astype(np.uint8)[..., None], 3, axis=3)

    @torch.no_grad()
    def _measured(self, frames: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
        height, width = frames.shape[1:3]
        for start in range(0, len(frames), _FRAMES_AT_ONCE):
            some = list(frames[start : start + _FRAMES_AT_ONCE])
            inputs = self._processor(images=some, return_tensors="pt").to(self._device)
            sizes = [(height, width)] * len(some)
            found = self._processor.post_process_depth_estimation(self._model(**inputs), target_sizes=sizes)
            yield np.stack([entry["predicted_depth"].float().cpu().numpy() for entry in found])
