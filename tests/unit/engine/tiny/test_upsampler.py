"""The shipped upsampler belongs to the shipped VAE."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKLLTX2Video

from engine.tiny.architecture import WEIGHTS_DIR
from engine.tiny.upsampler import FOLDER, load, measure


def test_shipped_upsampler_doubles_clips_of_the_shipped_vae() -> None:
    """After a new VAE, `python -m engine.tiny.upsampler` has to be run: another one's upsampler makes noise (below 15 dB)."""
    vae: Any = AutoencoderKLLTX2Video.from_pretrained(WEIGHTS_DIR, subfolder="vae", torch_dtype=torch.float32)
    figures = measure(vae.eval().requires_grad_(False), load(), count=16)
    assert figures["upsampled"] > 22, figures
    assert figures["upsampled"] <= figures["vae"] + 0.5


def test_shipped_upsampler_is_small() -> None:
    """It is part of every installation."""
    assert sum(path.stat().st_size for path in (WEIGHTS_DIR / FOLDER).iterdir()) <= 1_000_000
