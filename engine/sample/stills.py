"""A picture of a clip that is still being denoised, by a linear guess in place of the VAE: cheap enough for every few seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch

from engine.model.loader import ResidentBase, unpack_latents
from engine.sample.video import strip

SIDE: Final = 4  # pixels a latent cell becomes, per side
_AT_ONCE: Final = 16


def still(resident: ResidentBase, tokens: torch.Tensor, grid: tuple[int, int, int], path: Path) -> None:
    """Write first, middle and last frame of the clip that the packed, normalised `tokens` [1, N or more, C] stand for (PNG).

    `grid` is (f, h, w); tokens beyond it are references.
    """
    frames, height, width = grid
    coefficients, ground = _projection(resident, tokens.shape[2])
    latents = unpack_latents(tokens[:, : frames * height * width].float().cpu(), frames, height, width)[0]  # [C, f, h, w]
    chosen = latents[:, sorted({0, frames // 2, frames - 1})]
    cells = torch.einsum("cfhw,crij->fhiwjr", chosen, coefficients) + ground.permute(1, 2, 0)[None, None, :, None]
    pixels = cells.reshape(chosen.shape[1], height * SIDE, width * SIDE, 3)
    strip((pixels.clamp(0, 1) * 255).round().byte().numpy(), path)


def _projection(resident: ResidentBase, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """How much each channel adds to a cell [C, 3, SIDE, SIDE], and a cell without any [3, SIDE, SIDE], 0..1.

    Read off the VAE once: the pixels under the middle of a 3 x 3 grid, for the mean latent and for one unit more of every channel.
    """
    if "still" not in resident.extras:
        impulses = torch.zeros(channels + 1, channels, 1, 3, 3)
        impulses[torch.arange(channels), torch.arange(channels), 0, 1, 1] = 1.0
        cells = torch.cat([_cells(resident, some) for some in torch.split(impulses, _AT_ONCE)])
        resident.extras["still"] = (cells[:-1] - cells[-1], cells[-1])
    coefficients, ground = resident.extras["still"]
    return coefficients, ground


def _cells(resident: ResidentBase, latents: torch.Tensor) -> torch.Tensor:
    """Pixels [B, 3, SIDE, SIDE], 0..1, under the middle of latents [B, C, 1, 3, 3]."""
    pixels = resident.decode_pixels(resident.denormalised(latents.to(resident.device)))[:, :, 0].float().cpu() / 2 + 0.5
    height, width = pixels.shape[2] // 3, pixels.shape[3] // 3
    return torch.nn.functional.adaptive_avg_pool2d(pixels[:, :, height : 2 * height, width : 2 * width], SIDE)
