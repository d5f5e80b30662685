"""The video VAE of the tiny base: an encoder in closed form, a decoder trained on top of it.

Encoder. `AutoencoderKLLTX2Video` without resnets is, but for its last norm and SiLU, a chain of convolutions and lossless
unshuffles. With a large constant bias on every channel the norm divides by nearly a constant and SiLU works in its
straight part, so `conv_out` can be solved by least squares to return the principal components of each 4-frame block.
Training a convolutional VAE of this size from scratch takes hours on a CPU and ends blurrier (`engine/LOG.md`).

Decoder. Starts as the encoder's transpose, solved the same way (from random values it needs many times longer), its
resnets as identities. Then it is trained by plain regression with noise added to the latents, because sampled latents
are never exact: it learns to snap a slightly wrong latent to the clean flat-coloured blocks of this world.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.tiny.architecture import FRAME_STEP, LATENT_CHANNELS, SPATIAL_COMPRESSION

_BIAS: Final = 16.0  # constant on every encoder channel, large against the signal (about 1)
_DECODER_BIAS: Final = 4.0
_MIN_LOG_VARIANCE: Final = -20.0


def to_video(clips: NDArray[np.uint8]) -> Tensor:
    """[B, F, H, W, 3] uint8 frames to the VAE's input, [B, 3, F, H, W] in -1..1."""
    return torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float().div_(127.5).sub_(1.0)


@torch.no_grad()
def encode(vae: Any, video: Tensor) -> Tensor:
    """Normalised latents [B, LATENT_CHANNELS, f, h, w] of a video in -1..1."""
    mean, std = _statistics(vae)
    latents: Tensor = vae.encode(video).latent_dist.mode()
    return (latents - mean) / std


def decode(vae: Any, latents: Tensor) -> Tensor:
    """Video [B, 3, F, H, W] of normalised latents; gradients reach the decoder."""
    mean, std = _statistics(vae)
    video: Tensor = vae.decode(latents * std + mean, return_dict=False)[0]
    return video


def pack(latents: Tensor) -> Tensor:
    """[B, C, f, h, w] to tokens [B, f*h*w, C] in the order frame, row, column (patch size 1)."""
    return latents.flatten(2).transpose(1, 2)


def psnr_db(reference: Tensor, video: Tensor) -> float:
    """Peak signal-to-noise ratio of two videos in -1..1 (peak-to-peak 2)."""
    error = (reference - video.clamp(-1, 1)).square().mean().item()
    return 10.0 * math.log10(4.0 / max(error, 1e-12))


@torch.no_grad()
def fit_encoder(vae: Any, video: Tensor) -> None:
    """Set the encoder and the latent statistics from sample clips, [B, 3, F, H, W] in -1..1.

    The encoder's values are rounded to fp16 before the statistics are taken, so that a saved copy is the same encoder.
    """
    encoder = vae.encoder
    for parameter in encoder.parameters():
        parameter.zero_()
    logical = _logical_basis()  # [48, 192]
    encoder.conv_in.conv.weight[: len(logical), :, -1, 1, 1] = logical
    encoder.conv_in.conv.bias.fill_(_BIAS)

    components = _principal_components(video)  # [LATENT_CHANNELS, 4 * 48 + 1], last column is the offset
    features = _features(vae, video)  # [N, channels]
    targets = _blocks(video) @ components[:, :-1].T + components[:, -1]  # [N, LATENT_CHANNELS]
    solution = _regress(features, targets)  # [channels + 1, LATENT_CHANNELS]
    encoder.conv_out.conv.weight[:LATENT_CHANNELS, :, -1, 1, 1] = solution[:-1].T
    encoder.conv_out.conv.bias[:LATENT_CHANNELS] = solution[-1]
    encoder.conv_out.conv.bias[LATENT_CHANNELS] = _MIN_LOG_VARIANCE
    for parameter in encoder.parameters():
        parameter.copy_(parameter.half().float())

    latents = vae.encode(video).latent_dist.mode()
    mean = latents.mean(dim=(0, 2, 3, 4))
    spread = latents.std(dim=(0, 2, 3, 4)).sqrt()  # partial whitening: strong components stay stronger
    scale = ((latents - mean.view(1, -1, 1, 1, 1)) / spread.view(1, -1, 1, 1, 1)).square().mean().sqrt()
    vae.latents_mean.copy_(mean.half().float())
    vae.latents_std.copy_((spread * scale).half().float())


@torch.no_grad()
def fit_decoder(vae: Any, video: Tensor) -> None:
    """Start the decoder as the linear inverse of a fitted encoder; `video` as in `fit_encoder`."""
    decoder = vae.decoder
    for block in (decoder.mid_block, *decoder.up_blocks):
        for resnet in block.resnets:
            resnet.conv2.conv.weight.zero_()
            resnet.conv2.conv.bias.zero_()
    for layer in (decoder.conv_in, *(block.upsamplers[0].conv for block in decoder.up_blocks), decoder.conv_out):
        layer.conv.weight.mul_(0.02)  # side taps start small, not zero, to have a gradient of their own
        layer.conv.bias.zero_()
    latents = vae.encode(video).latent_dist.mode()  # [B, C, f, h, w]
    flat = latents.permute(0, 2, 3, 4, 1).flatten(0, 3)
    inverse = _regress(flat, _blocks(video))  # [C + 1, 4 * 48]
    per_frame = inverse.shape[1] // FRAME_STEP
    decoder.conv_in.conv.weight[:LATENT_CHANNELS, :, 1, 1, 1] = torch.eye(LATENT_CHANNELS)
    halves = inverse.reshape(len(inverse), 2, 2 * per_frame)  # [C + 1, half, 2 * 48]
    first, second = (block.upsamplers[0].conv.conv for block in decoder.up_blocks)
    for half in range(2):  # an upsampler's output channels are (channel, time)
        first.weight[half : 4 * per_frame : 2, :LATENT_CHANNELS, 1, 1, 1] = halves[:-1, half].T
        first.bias[half : 4 * per_frame : 2] = halves[-1, half]
        values = torch.arange(per_frame)
        second.weight[2 * values + half, per_frame * half + values, 1, 1, 1] = 1.0
    second.bias.fill_(_DECODER_BIAS)
    features = _inputs(decoder.conv_out, lambda: vae.decode(latents)).permute(0, 2, 3, 4, 1).flatten(0, 3)
    solution = _regress(features, _patches(video))
    decoder.conv_out.conv.weight[:, :, 1, 1, 1] += solution[:-1].T
    decoder.conv_out.conv.bias.copy_(solution[-1])


def train_decoder(
    vae: Any,
    draw_clips: Callable[[int], NDArray[np.uint8]],
    *,
    seconds: float,
    batch_size: int = 32,
    learning_rate: float = 2e-3,
    max_noise: float = 0.35,
    report: Callable[[int, float, float], None] | None = None,
) -> None:
    """Train the decoder for about `seconds` against the frozen encoder, with latents noised by up to `max_noise`.

    `draw_clips(n)` gives n clips [n, F, H, W, 3] uint8; `report(step, loss, elapsed_s)` is called every 20 steps.
    """
    decoder = vae.decoder.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    started, step = time.monotonic(), 0
    while (elapsed := time.monotonic() - started) < seconds:
        _set_learning_rate(optimizer, learning_rate, step, elapsed / seconds)
        video = to_video(draw_clips(batch_size))
        latents = encode(vae, video)
        noise = torch.randn_like(latents) * (torch.rand(batch_size, 1, 1, 1, 1).square() * max_noise)
        restored = decode(vae, latents + noise)
        loss = (restored - video).abs().mean() + (restored - video).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        if report is not None and step % 20 == 0:
            report(step, loss.item(), elapsed)
        step += 1
    decoder.eval().requires_grad_(False)


def _set_learning_rate(optimizer: torch.optim.Optimizer, peak: float, step: int, done: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = peak * min(1.0, (step + 1) / 50) * min(1.0, max(0.01, (1.0 - done) / 0.6))


def _statistics(vae: Any) -> tuple[Tensor, Tensor]:
    return vae.latents_mean.view(1, -1, 1, 1, 1), vae.latents_std.view(1, -1, 1, 1, 1)


def _logical_basis() -> Tensor:
    """Rows that read the 4x4 logical pixels x 3 colours of an 8x8 patch, [48, 192]; patch order is colour, column, row."""
    side = SPATIAL_COMPRESSION
    basis = torch.zeros(side // 2, side // 2, 3, 3, side, side)  # logical row, column, colour | colour, column, row
    for row in range(side):
        for column in range(side):
            for colour in range(3):
                basis[row // 2, column // 2, colour, colour, column, row] = 0.25
    return basis.flatten(0, 2).flatten(1)


def _blocks(video: Tensor) -> Tensor:
    """Values of every 4-frame block of logical 4x4 patches, [N, 4 * 48]; the first frame counts four times."""
    logical = torch.nn.functional.avg_pool3d(video, (1, 2, 2))  # [B, 3, F, 16, 16]
    padded = torch.cat([logical[:, :, :1].repeat(1, 1, FRAME_STEP - 1, 1, 1), logical], dim=2)
    patch = SPATIAL_COMPRESSION // 2
    split = _split(_split(_split(padded, 4, patch), 3, patch), 2, FRAME_STEP)
    # [B, colour, block, 4, rows, patch row, columns, patch column]
    return split.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(4).flatten(0, 3)


def _principal_components(video: Tensor) -> Tensor:
    """Projection on the strongest components of the blocks, with its offset as last column."""
    blocks = _blocks(video)
    mean = blocks.mean(0)
    covariance = (blocks - mean).T @ (blocks - mean) / len(blocks)
    _, vectors = torch.linalg.eigh(covariance.double())
    strongest = vectors.flip(1)[:, :LATENT_CHANNELS].T.float()
    return torch.cat([strongest, -(strongest @ mean)[:, None]], dim=1)


def _features(vae: Any, video: Tensor) -> Tensor:
    """What the encoder's `conv_out` sees at every latent position, [N, channels], in the order of `_blocks`."""
    return _inputs(vae.encoder.conv_out, lambda: vae.encode(video)).permute(0, 2, 3, 4, 1).flatten(0, 3)


def _split(tensor: Tensor, dim: int, size: int) -> Tensor:
    """Split dimension `dim` into (groups, size)."""
    shape = list(tensor.shape)
    return tensor.reshape(*shape[:dim], shape[dim] // size, size, *shape[dim + 1 :])


def _regress(inputs: Tensor, targets: Tensor) -> Tensor:
    """Ridge regression with an offset: [inputs + 1, targets], the offset in the last row; columns may be collinear."""
    design = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1).double()
    gram = design.T @ design + 1e-6 * len(design) * torch.eye(design.shape[1], dtype=torch.float64)
    solution: Tensor = torch.linalg.solve(gram, design.T @ targets.double())
    return solution.float()


def _inputs(layer: torch.nn.Module, run: Callable[[], object]) -> Tensor:
    """The first argument `layer` gets while `run` runs."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _module, arguments: seen.append(arguments[0]))
    try:
        run()
    finally:
        hook.remove()
    return seen[0]


def _patches(video: Tensor) -> Tensor:
    """8x8 patches in the decoder's channel order, [N, 192] = (colour, column, row); N as in the decoder's output."""
    side = SPATIAL_COMPRESSION
    split = _split(_split(video, 4, side), 3, side)  # [B, colour, F, rows, row, columns, column]
    return split.permute(0, 2, 3, 5, 1, 6, 4).flatten(4).flatten(0, 3)
