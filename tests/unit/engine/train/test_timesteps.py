"""The sampler of noise levels has the distribution of LTX-2.3's trainer, for any length of sequence."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
import torch

from engine.train.timesteps import MIN_SIGMA, sample_sigmas, shift_for

SAMPLES = 40_000


def _expected_cdf(sigma: float, mean: float) -> float:
    """P(level <= sigma), derived from the definition in reference ltx-2.3.md section 1.3, not from the code."""
    normal = NormalDist()
    low, high = (1 / (1 + math.exp(-(mean + z))) for z in (-2.5758, 3.0902))

    def stretched_below(value: float) -> float:
        raw = low + value * (high - low)
        if raw <= 0:
            return 0.0
        return 1.0 if raw >= 1 else normal.cdf(math.log(raw / (1 - raw)) - mean)

    if sigma >= 1:
        return 1.0
    mirrored = stretched_below(sigma) - stretched_below(2 * MIN_SIGMA - sigma)
    return 0.9 * mirrored + 0.1 * (sigma - MIN_SIGMA) / (1 - MIN_SIGMA)


@pytest.mark.parametrize("num_tokens", [256, 1024, 4032])
def test_sigmas_follow_the_shifted_logit_normal(num_tokens: int) -> None:
    """Kolmogorov-Smirnov against the analytic distribution, at the one-percent level, with a fixed seed."""
    sigmas = sample_sigmas(SAMPLES, num_tokens, torch.Generator().manual_seed(1)).sort().values.tolist()
    mean = 0.95 + 1.10 / 3072 * (num_tokens - 1024)
    expected = [_expected_cdf(sigma, mean) for sigma in sigmas]
    inside = [index for index, sigma in enumerate(sigmas) if sigma < 1]  # one in a thousand is clamped to exactly 1
    distance = max(max(abs((index + 1) / SAMPLES - expected[index]), abs(index / SAMPLES - expected[index])) for index in inside)
    assert distance < 1.628 / math.sqrt(SAMPLES)


@pytest.mark.parametrize("num_tokens", [256, 4032])
def test_the_test_can_tell_lengths_apart(num_tokens: int) -> None:
    """Levels drawn for 1024 tokens fail the test for any other length: a constant shift would be noticed."""
    sigmas = sample_sigmas(SAMPLES, 1024, torch.Generator().manual_seed(1)).sort().values.tolist()
    mean = 0.95 + 1.10 / 3072 * (num_tokens - 1024)
    distance = max(abs((index + 1) / SAMPLES - _expected_cdf(sigma, mean)) for index, sigma in enumerate(sigmas))
    assert distance > 5 * 1.628 / math.sqrt(SAMPLES)


@pytest.mark.parametrize(("num_tokens", "expected"), [(256, 0.675), (510, 0.766), (1024, 0.95), (4032, 2.03), (4096, 2.05), (8160, 3.51)])
def test_shift_grows_with_the_sequence_without_a_limit(num_tokens: int, expected: float) -> None:
    """The published values, the ones beyond both anchors included."""
    assert shift_for(num_tokens) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("num_tokens", [16, 1024, 8160])
def test_sigmas_are_noise_levels(num_tokens: int) -> None:
    """Every level is in (0, 1], never 0, where there would be nothing to learn."""
    sigmas = sample_sigmas(SAMPLES, num_tokens, torch.Generator().manual_seed(2))
    assert float(sigmas.min()) > 0
    assert float(sigmas.max()) <= 1
