"""Noise levels for training: a logit-normal distribution shifted by the length of the sequence.

After ltx-trainer's "shifted logit-normal" as described in Lightricks' LTX-2.3 trainer (reference ltx-2.3.md §1.3): a
longer sequence needs more noise to hide the same amount of picture, so the mean grows with the number of tokens.
"""

from __future__ import annotations

import math
from typing import Final

import torch

BASE_TOKENS: Final = 1024
BASE_SHIFT: Final = 0.95
MAX_TOKENS: Final = 4096
MAX_SHIFT: Final = 2.05

UNIFORM_SHARE: Final = 0.1
MIN_SIGMA: Final = 1e-3
_LOWER_QUANTILE_Z: Final = -2.5758  # 0.5 percent of the normal distribution lie below
_UPPER_QUANTILE_Z: Final = 3.0902  # 99.9 percent lie below


def shift_for(num_tokens: int) -> float:
    """Mean of the logit for `num_tokens` target tokens: a line through (1024, 0.95) and (4096, 2.05), not clamped."""
    return BASE_SHIFT + (MAX_SHIFT - BASE_SHIFT) / (MAX_TOKENS - BASE_TOKENS) * (num_tokens - BASE_TOKENS)


def sample_sigmas(count: int, num_tokens: int, generator: torch.Generator) -> torch.Tensor:
    """`count` noise levels in (0, 1], fp32, on the CPU, for samples of `num_tokens` tokens each.

    The logit-normal is stretched so that its 0.5 and 99.9 percentiles become 0 and 1, what falls below `MIN_SIGMA` is
    mirrored back, and one sample in ten is uniform, so that no level is ever rare.
    """
    mean = shift_for(num_tokens)
    low, high = _sigmoid(mean + _LOWER_QUANTILE_Z), _sigmoid(mean + _UPPER_QUANTILE_Z)
    raw = torch.sigmoid(torch.randn(count, generator=generator) + mean)
    stretched = (raw - low) / (high - low)
    stretched = torch.where(stretched < MIN_SIGMA, 2 * MIN_SIGMA - stretched, stretched).clamp(0.0, 1.0)
    uniform = torch.rand(count, generator=generator) * (1.0 - MIN_SIGMA) + MIN_SIGMA
    is_uniform = torch.rand(count, generator=generator) < UNIFORM_SHARE
    return torch.where(is_uniform, uniform, stretched)


def _sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))
