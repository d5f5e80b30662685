"""Noise of a seed and between two seeds."""

from __future__ import annotations

import pytest
import torch

from engine.contracts.generation import Variation
from engine.contracts.geometry import Geometry
from engine.model.loader import ResidentBase
from engine.sample.noise import slerp, start_noise

GEOMETRY = Geometry(width=32, height=32, num_frames=9, fps=8)


@pytest.mark.parametrize("part", [0.1, 0.3, 0.5, 0.9])
def test_slerp_keeps_the_length_of_a_noise(part: float) -> None:
    """A plain mixture of two noises is too quiet, which shows as a grey clip."""
    one, other = (torch.randn(1, 4096, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert float(slerp(one, other, part).std()) == pytest.approx(1.0, abs=0.03)
    assert float(torch.lerp(one, other, 0.5).std()) < 0.8


def test_slerp_ends_at_its_ends_bit_for_bit() -> None:
    """Strength 0 is the other clip again, strength 1 one's own."""
    one, other = torch.randn(8), torch.randn(8)
    assert torch.equal(slerp(one, other, 0.0), one)
    assert torch.equal(slerp(one, other, 1.0), other)
    assert torch.allclose(slerp(one, one, 0.4), one)


def test_start_noise_comes_nearer_to_the_own_seed_with_strength(tiny: ResidentBase) -> None:
    """The further the turn, the less of the other seed is left, in picture and sound alike."""
    own, other = (start_noise(tiny, GEOMETRY, seed, None, packed=False) for seed in (1, 2))
    left = []
    for strength in (0.0, 0.25, 0.75, 1.0):
        noise = start_noise(tiny, GEOMETRY, 1, Variation(seed=2, strength=strength), packed=False)
        left.append(float((noise.video * other.video).mean()))
        assert noise.audio.shape == own.audio.shape
    assert left == sorted(left, reverse=True)
    assert left[0] == pytest.approx(1.0, abs=0.1)
    assert left[-1] == pytest.approx(0.0, abs=0.1)
    assert torch.equal(start_noise(tiny, GEOMETRY, 1, Variation(seed=2, strength=0.0), packed=False).video, other.video)
