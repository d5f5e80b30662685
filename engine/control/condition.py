"""From guiding frames to reference tokens: what stands beside the noisy tokens of a clip, clean, at timestep 0, without loss.

The tokens, their order and their positions are those of diffusers' `LTX2InContextPipeline` (reference ltx-2.3.md §1.9):
latents by mode, normalised, packed by frame, row, column and appended after the clip's own; positions of the guide's own
grid, rows and columns times the downscale factor, so that guide and clip cover the same canvas.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.contracts.controls import Control
from engine.contracts.geometry import GeometryRule
from engine.errors import InvalidConfigError
from engine.model.loader import ResidentBase, pack_latents, to_pixels


@dataclass(frozen=True)
class Reference:
    """A guide as the transformer reads it; M packed tokens of C channels."""

    tokens: torch.Tensor  # [B, M, C], clean
    coords: torch.Tensor  # [1, 3, M, 2], seconds and pixels of the clip it guides


def encode_reference(resident: ResidentBase, frames: NDArray[np.uint8]) -> torch.Tensor:
    """Normalised latents [1, C, f, h, w], fp32, of guiding frames [F, H, W, 3] at their final size."""
    return resident.encode_video(to_pixels(frames).unsqueeze(0))


def reference_of(resident: ResidentBase, latents: torch.Tensor, control: Control, fps: float) -> Reference:
    """Tokens and positions of guides with latents [B, C, f, h, w], for clips that play at `fps`."""
    _, _, latent_frames, height, width = latents.shape
    return Reference(pack_latents(latents), reference_coords(resident, (latent_frames, height, width), control, fps))


def reference_coords(resident: ResidentBase, grid: tuple[int, int, int], control: Control, fps: float) -> torch.Tensor:
    """Positions [1, 3, M, 2] of a guide of `grid` (latent frames, rows, columns), in seconds and in pixels of the clip it guides."""
    coords = resident.video_coords(*grid, fps).clone()
    coords[:, 1:] *= control.downscale  # rows and columns; seconds stay
    return coords


def check_downscale(rule: GeometryRule, control: Control, width: int, height: int) -> None:
    """Refuse a factor that leaves the guide a size the base cannot encode.

    Raises:
        InvalidConfigError: a side divided by the factor is no multiple of the base's unit.
    """
    unit = rule.spatial_multiple
    if width % (unit * control.downscale) or height % (unit * control.downscale):
        raise InvalidConfigError(
            f"A guide {control.downscale} times smaller than {width} x {height} does not work: both sides must stay multiples of {unit};"
            " choose a smaller factor."
        )
