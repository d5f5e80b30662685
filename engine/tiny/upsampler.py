"""The spatial latent upsampler of the tiny base: latents of a clip to latents of the same clip at twice the size.

`python -m engine.tiny.upsampler --minutes 4` trains it on the world, for the VAE that lies in the weights folder, and puts it there.
It is diffusers' `LTX2LatentUpsamplerModel` like LTX-2.3's own, 0.2 million weights in place of 1.3 billion, and like that one it
takes and returns latents as the VAE makes them, not normalised. Frames are independent (`dims=2`): twice the size is a matter of
space. The target is the scene painted at twice the scale, so the clip shows the same picture in more pixels, not a larger world.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import AutoencoderKLLTX2Video
from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel
from torch import Tensor

from engine.tiny.architecture import LATENT_CHANNELS, WEIGHTS_DIR
from engine.tiny.vae import decode, encode, psnr_db, to_video
from engine.tiny.world import PIXELS_PER_LOGICAL, random_scene, render

FOLDER: Final = "upsampler"
FACTOR: Final = 2
_WIDTH: Final = 64
_BATCH: Final = 24
_POOL: Final = 3000  # clips
_PEAK_RATE: Final = 2e-3
_NOISE: Final = 0.15  # of a normalised latent: generated latents are never exact


def build_upsampler() -> Any:
    """The model with random weights."""
    model: Any = LTX2LatentUpsamplerModel(
        in_channels=LATENT_CHANNELS,
        mid_channels=_WIDTH,
        num_blocks_per_stage=0,
        dims=2,
        spatial_upsample=True,
        temporal_upsample=False,
        use_rational_resampler=False,
    )
    return model


def pairs(vae: Any, count: int, seed: int, num_frames: int = 9) -> tuple[Tensor, Tensor]:
    """Normalised latents of `count` random clips, [N, C, f, h, w] and [N, C, f, 2h, 2w]."""
    rng = np.random.default_rng(seed)
    small: list[Tensor] = []
    large: list[Tensor] = []
    for start in range(0, count, 50):
        scenes = [random_scene(rng, num_frames) for _ in range(min(50, count - start))]
        for into, scale in ((small, PIXELS_PER_LOGICAL), (large, FACTOR * PIXELS_PER_LOGICAL)):
            into.append(encode(vae, to_video(np.stack([render(scene, scale) for scene in scenes]))))
    return torch.cat(small), torch.cat(large)


def train(vae: Any, minutes: float, seed: int = 0) -> Any:
    """An upsampler for `vae`, trained by plain regression with noise on what it is given."""
    torch.manual_seed(seed)
    model = build_upsampler()
    small, large = pairs(vae, _POOL, seed)
    mean, std = (t.float().view(1, -1, 1, 1, 1) for t in (vae.latents_mean, vae.latents_std))
    optimizer = torch.optim.AdamW(model.parameters(), lr=_PEAK_RATE, weight_decay=0.0)
    generator = torch.Generator().manual_seed(seed)
    began = time.monotonic()
    while (share := (time.monotonic() - began) / (60.0 * minutes)) < 1.0:
        for group in optimizer.param_groups:
            group["lr"] = _PEAK_RATE * min(1.0, 20 * share + 0.05) * (1.0 - share)
        chosen = torch.randint(len(small), (_BATCH,), generator=generator)
        given = small[chosen]
        given = given + _NOISE * torch.randn(given.shape, generator=generator) * torch.rand(_BATCH, 1, 1, 1, 1, generator=generator)
        made = (model(given * std + mean) - mean) / std
        loss = (made - large[chosen]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@torch.no_grad()
def measure(vae: Any, model: Any, count: int = 64, seed: int = 10_000) -> dict[str, float]:
    """PSNR in dB against clips painted at twice the size, of the upsampled latents, decoded, and of the VAE alone, which bounds it."""
    rng = np.random.default_rng(seed)
    scenes = [random_scene(rng, 9) for _ in range(count)]
    small, large = (to_video(np.stack([render(s, scale) for s in scenes])) for scale in (PIXELS_PER_LOGICAL, FACTOR * PIXELS_PER_LOGICAL))
    mean, std = (t.float().view(1, -1, 1, 1, 1) for t in (vae.latents_mean, vae.latents_std))
    made = (model(encode(vae, small) * std + mean) - mean) / std
    return {"upsampled": psnr_db(large, decode(vae, made)), "vae": psnr_db(large, decode(vae, encode(vae, large)))}


def main(arguments: list[str] | None = None) -> None:
    """Train, measure and save."""
    parser = argparse.ArgumentParser(prog="python -m engine.tiny.upsampler", description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--weights", type=Path, default=WEIGHTS_DIR, help="folder of the base, with its VAE")
    options = parser.parse_args(arguments)
    vae: Any = AutoencoderKLLTX2Video.from_pretrained(options.weights, subfolder="vae", torch_dtype=torch.float32)  # type: ignore[no-untyped-call]
    model = train(vae.eval().requires_grad_(False), options.minutes)
    model.to(torch.bfloat16).save_pretrained(options.weights / FOLDER)
    figures = measure(vae, model.float())
    sys.stdout.write(f"PSNR at twice the size: {figures['upsampled']:.1f} dB; of the VAE itself {figures['vae']:.1f} dB\n")


if __name__ == "__main__":
    main()
