"""What denoising starts from: the noise of a seed, and the noises between two seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from engine.contracts.generation import Variation
from engine.contracts.geometry import Geometry
from engine.model.loader import ResidentBase, pack_latents


@dataclass(frozen=True)
class StartNoise:
    """Unit noise of one clip, packed, fp32 on the CPU."""

    video: torch.Tensor  # [1, N, C]
    audio: torch.Tensor  # [1, L, D]


def start_noise(
    resident: ResidentBase, geometry: Geometry, seed: int, vary: Variation | None, *, packed: bool, beside: int = 0
) -> StartNoise:
    """The noise a pipeline draws from a generator seeded by `seed`, turned from that of `vary.seed` towards it by `vary.strength`.

    Pipelines draw differently: text-to-video a grid, the conditioned ones a sequence (`packed`) with `beside` reference tokens after
    the clip's own. With strength 0 the result is the other seed's noise bit for bit, so that the clip is the other clip.
    """
    here = _drawn(resident, geometry, seed, packed=packed, beside=beside)
    if vary is None:
        return here
    there = _drawn(resident, geometry, vary.seed, packed=packed, beside=beside)
    return StartNoise(slerp(there.video, here.video, vary.strength), slerp(there.audio, here.audio, vary.strength))


def slerp(start: torch.Tensor, end: torch.Tensor, part: float) -> torch.Tensor:
    """The point at `part`, 0..1, of the great circle from `start` to `end`: between two noises it has a noise's length all the way.

    Source: Shoemake, "Animating rotation with quaternion curves", 1985.
    """
    if part <= 0.0 or part >= 1.0:
        return start if part <= 0.0 else end
    a, b = start.double().flatten(), end.double().flatten()
    cosine = float((a @ b) / (a.norm() * b.norm()))
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    if angle < 1e-4:  # nearly parallel: the arc is its chord
        return torch.lerp(start, end, part)
    mixed = (math.sin((1.0 - part) * angle) * a + math.sin(part * angle) * b) / math.sin(angle)
    return mixed.reshape(start.shape).to(start.dtype)


def _drawn(resident: ResidentBase, geometry: Geometry, seed: int, *, packed: bool, beside: int) -> StartNoise:
    """Drawn in the pipelines' order: first the video, then the sound."""
    generator = torch.Generator("cpu").manual_seed(seed)
    shape = resident.latent_shape(geometry)
    tokens = shape[2] * shape[3] * shape[4]
    if packed:
        video = torch.randn((1, tokens + beside, shape[1]), generator=generator)[:, :tokens]
    else:
        video = pack_latents(torch.randn(shape, generator=generator))
    return StartNoise(video, torch.randn(resident.audio_shape(geometry), generator=generator))
