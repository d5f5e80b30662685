"""The spatial latent upsampler of the tiny base: latents of a clip to latents of the same clip at twice the size.

`python -m engine.tiny.upsampler` makes it for the VAE that lies in the weights folder and puts it there, in seconds: encoder and
enlarging are linear, so the best map is a least-squares solution. It is diffusers' `LTX2LatentUpsamplerModel` like LTX-2.3's own, 0.4
million weights in place of 1.3 billion, and like that one it takes and returns latents as the VAE makes them, not normalised.

Its group norm and SiLU are led around: every group of three holds two latent channels and a constant so large that the group's
deviation hardly depends on the picture, and a bias keeps SiLU in its straight part. What the norm takes away for good is the sum of the
two channels' means over the frame; a strong channel shares its group with a weak one, whose mean says little, so that their difference,
which stays, says nearly all.

Frames are independent (`dims=2`): twice the size is a matter of space. The target is the scene painted at twice the scale, so the clip
shows the same picture in more pixels, not a larger world.
"""

from __future__ import annotations

import argparse
import math
import sys
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
_GROUP: Final = 3  # channels per group of the norm, which always has 32 groups
_CONSTANT: Final = 512.0  # latents reach about 20
_BIAS: Final = 48.0
_CLIPS: Final = 1500
_RIDGE: Final = 1e-4  # of the mean feature variance
_NOISE: Final = 0.1  # of a normalised latent: generated latents are never exact


def build_upsampler() -> Any:
    """The model with random weights."""
    model: Any = LTX2LatentUpsamplerModel(
        in_channels=LATENT_CHANNELS,
        mid_channels=LATENT_CHANNELS // (_GROUP - 1) * _GROUP,
        num_blocks_per_stage=0,
        dims=2,
        spatial_upsample=True,
        temporal_upsample=False,
        use_rational_resampler=False,
    )
    return model.requires_grad_(False).eval()


def pairs(vae: Any, count: int, seed: int, num_frames: int = 9) -> tuple[Tensor, Tensor]:
    """Normalised latents of `count` random clips, frame by frame: [N, C, h, w] and [N, C, 2h, 2w]."""
    rng = np.random.default_rng(seed)
    small: list[Tensor] = []
    large: list[Tensor] = []
    for start in range(0, count, 50):
        scenes = [random_scene(rng, num_frames) for _ in range(min(50, count - start))]
        for into, scale in ((small, PIXELS_PER_LOGICAL), (large, FACTOR * PIXELS_PER_LOGICAL)):
            into.append(encode(vae, to_video(np.stack([render(scene, scale) for scene in scenes]))))
    return tuple(torch.cat(part).transpose(1, 2).flatten(0, 1) for part in (small, large))  # type: ignore[return-value]


@torch.no_grad()
def solve(vae: Any, clips: int = _CLIPS, seed: int = 0) -> Any:
    """The upsampler for `vae`: its matrices in bfloat16, its vectors, which would lose the constants, in float32."""
    model = build_upsampler()
    mean, std = vae.latents_mean.float(), vae.latents_std.float()
    _lead_around_the_norm(model, mean, std)
    small, large = pairs(vae, clips, seed)
    large = large * (std / _rounded(std)).view(1, -1, 1, 1)  # what the last convolution's rounding takes away
    given = small + _NOISE * torch.randn(small.shape, generator=torch.Generator().manual_seed(seed))
    seen = _seen(model, given * std.view(1, -1, 1, 1) + mean.view(1, -1, 1, 1))
    rows = seen.flatten(2).transpose(1, 2).flatten(0, 1).double()  # [N h w, mid]; the VAE's blocks do not overlap, so no neighbours
    blocks = torch.nn.functional.pixel_unshuffle(large, FACTOR)  # [N, C 4, h, w], channel by channel
    wanted = blocks.flatten(2).transpose(1, 2).flatten(0, 1).double()
    centre, target = rows.mean(0), wanted.mean(0)
    rows, wanted = rows - centre, wanted - target
    gram = rows.T @ rows
    gram += torch.eye(len(gram), dtype=gram.dtype) * _RIDGE * gram.diagonal().mean()
    weights = torch.linalg.solve(gram, rows.T @ wanted)  # [mid, C 4]
    convolution = model.upsampler[0]
    convolution.weight.zero_()
    convolution.bias.zero_()
    matrix = _rounded(weights.T.float())
    convolution.weight[: len(matrix), :, 1, 1] = matrix
    convolution.bias[: len(matrix)] = (target - matrix.double() @ centre).float()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data = parameter.data.bfloat16()
    return model


def _rounded(values: Tensor) -> Tensor:
    return values.bfloat16().float()


def _lead_around_the_norm(model: Any, mean: Tensor, std: Tensor) -> None:
    """Set everything but the convolution that enlarges: normalise on the way in, undo it on the way out."""
    for layer in (model.initial_conv, model.final_conv):
        layer.weight.zero_()
        layer.bias.zero_()
    channels = torch.arange(LATENT_CHANNELS)
    second = channels >= LATENT_CHANNELS // 2
    places = torch.where(second, (LATENT_CHANNELS - 1 - channels) * _GROUP + 1, channels * _GROUP)
    model.initial_conv.weight[places, channels, 1, 1] = _rounded(1.0 / std)
    model.initial_conv.bias[places] = -mean / std
    model.initial_conv.bias[_GROUP - 1 :: _GROUP] = _CONSTANT
    model.initial_norm.weight.fill_(_CONSTANT * math.sqrt(_GROUP - 1) / _GROUP)  # the deviation of one constant among zeros
    model.initial_norm.bias.fill_(_BIAS + _CONSTANT / _GROUP)  # the norm takes the group's mean off
    model.final_conv.weight[channels, channels, 1, 1] = _rounded(std)
    model.final_conv.bias.copy_(mean)


def _seen(model: Any, raw: Tensor) -> Tensor:
    """What the enlarging convolution is given, [N, mid, h, w]."""
    features: Tensor = model.initial_activation(model.initial_norm(model.initial_conv(raw)))
    return features


@torch.no_grad()
def measure(vae: Any, model: Any, count: int = 64, seed: int = 10_000) -> dict[str, float]:
    """PSNR in dB against clips painted at twice the size, of the upsampled latents, decoded, and of the VAE alone, which bounds it."""
    rng = np.random.default_rng(seed)
    scenes = [random_scene(rng, 9) for _ in range(count)]
    small, large = (to_video(np.stack([render(s, scale) for s in scenes])) for scale in (PIXELS_PER_LOGICAL, FACTOR * PIXELS_PER_LOGICAL))
    mean, std = (t.float().view(1, -1, 1, 1, 1) for t in (vae.latents_mean, vae.latents_std))
    made = (model(encode(vae, small) * std + mean) - mean) / std
    return {"upsampled": psnr_db(large, decode(vae, made)), "vae": psnr_db(large, decode(vae, encode(vae, large)))}


def load(folder: Path = WEIGHTS_DIR / FOLDER) -> Any:
    """The upsampler that lies in `folder`, in float32."""
    return LTX2LatentUpsamplerModel.from_pretrained(folder, torch_dtype=torch.float32).requires_grad_(False).eval()


def main(arguments: list[str] | None = None) -> None:
    """Make, save and measure it."""
    parser = argparse.ArgumentParser(prog="python -m engine.tiny.upsampler", description=main.__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS_DIR, help="folder of the base, with its VAE")
    parser.add_argument("--clips", type=int, default=_CLIPS, help="of the world, to solve from")
    options = parser.parse_args(arguments)
    vae: Any = AutoencoderKLLTX2Video.from_pretrained(options.weights, subfolder="vae", torch_dtype=torch.float32)  # type: ignore[no-untyped-call]
    folder = options.weights / FOLDER
    solve(vae.eval().requires_grad_(False), options.clips).save_pretrained(folder)
    for file in folder.iterdir():
        file.chmod(0o644)
    figures = measure(vae, load(folder))
    sys.stdout.write(f"PSNR at twice the size: {figures['upsampled']:.1f} dB; of the VAE itself {figures['vae']:.1f} dB\n")


if __name__ == "__main__":
    main()
