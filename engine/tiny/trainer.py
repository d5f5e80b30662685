"""The denoiser's training: batches of several kinds, flow matching, two optimisers, averaged weights, exact resumption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from engine.tiny.architecture import AUDIO_HEAD_DIM, FRAME_SIZE, FRAME_STEP, FRAMES_PER_SECOND, HEADS, SPATIAL_COMPRESSION
from engine.tiny.muon import StackedMuon
from engine.tiny.pool import Pool, tokenise


@dataclass(frozen=True)
class Recipe:
    """All figures of the run. Rates are peaks; the denoiser's fall to zero over the last `decay` of the run."""

    seed: int = 0
    steps: int = 6000
    clips: int = 20000
    images: int = 8000
    long_clips: int = 1000
    muon_rate: float = 6e-3
    adam_rate: float = 2e-3
    warmup_steps: int = 40
    decay: float = 0.9
    ema: float = 0.998
    caption_dropout: float = 0.1
    bfloat16: bool = True  # products in bfloat16 over fp32 weights: 0.7 of the time where the CPU has AVX512-BF16
    inside_weight: float = 6.0  # loss weight of tokens the character touches
    vae_clips: int = 800
    first_decoder_s: float = 60.0
    decoder_s: float = 420.0


@dataclass(frozen=True)
class BatchKind:
    """One sort of training batch: which pool, how many, how often, and whether the first frame is given clean."""

    num_frames: int
    batch_size: int
    share: tuple[float, float]  # of the batches, at the run's start and end
    first_frame_given: bool = False

    def share_at(self, progress: float) -> float:
        """Share of the batches at `progress` (0..1) of the run."""
        return self.share[0] + (self.share[1] - self.share[0]) * progress


KINDS: Final = (  # looks are learned from stills first, then carried through time
    BatchKind(9, 32, (0.26, 0.84)),
    BatchKind(1, 64, (0.70, 0.06)),
    BatchKind(17, 14, (0.02, 0.05)),
    BatchKind(9, 24, (0.02, 0.05), first_frame_given=True),
)
_TOKENS_PER_FRAME: Final = (FRAME_SIZE // SPATIAL_COMPRESSION) ** 2


class Trainer:
    """The denoiser's training: model, optimisers, averaged weights and the position in the run."""

    def __init__(self, pipe: Any, pools: dict[int, Pool], recipe: Recipe) -> None:
        self.pipe, self.pools, self.recipe = pipe, pools, recipe
        self.step = 0
        self.elapsed_s = 0.0
        named = dict(trainable(pipe))
        self.parameters = list(named.values())
        matrices = [p for name, p in named.items() if p.ndim == 2 and "transformer_blocks" in name and min(p.shape) >= 64]
        chosen = {id(p) for p in matrices}
        self.optimisers: list[torch.optim.Optimizer] = [
            StackedMuon(matrices, lr=recipe.muon_rate),
            torch.optim.AdamW(
                [p for p in self.parameters if id(p) not in chosen], lr=recipe.adam_rate, betas=(0.9, 0.98), weight_decay=0.0
            ),
        ]
        self.peaks = (recipe.muon_rate, recipe.adam_rate)
        self.average = [p.detach().clone() for p in self.parameters]
        self.rng = np.random.default_rng(recipe.seed)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.empty = tokenise(pipe.tokenizer, [""])[0]

    def train_step(self, progress: float) -> tuple[BatchKind, float]:
        """One optimiser step at `progress` (0..1) of the run; returns the kind of batch and its loss."""
        kind = KINDS[self.rng.choice(len(KINDS), p=[k.share_at(progress) for k in KINDS])]
        loss = self._loss(kind)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        factor = min(1.0, (self.step + 1) / self.recipe.warmup_steps) * min(1.0, max(0.0, (1.0 - progress) / self.recipe.decay))
        for optimiser, peak in zip(self.optimisers, self.peaks, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = peak * factor
            optimiser.step()
            optimiser.zero_grad()
        keep = min(self.recipe.ema, 1.0 - 1.0 / (self.step + 2) ** 0.75)
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1.0 - keep)
        self.step += 1
        return kind, loss.item()

    def _loss(self, kind: BatchKind) -> Tensor:
        """Flow-matching loss of one batch: x = (1-s)*x0 + s*noise, target noise - x0, per-token weights."""
        pool = self.pools[kind.num_frames]
        index = torch.from_numpy(self.rng.integers(len(pool), size=kind.batch_size))
        clean = pool.latents[index].float()  # [B, N, C]
        weight = 1.0 + (self.recipe.inside_weight - 1.0) * pool.inside[index].float()
        sigma = self._draw_sigma(kind.batch_size)
        per_token = sigma[:, None].expand(clean.shape[:2])
        if kind.first_frame_given:
            given = torch.arange(clean.shape[1]) < _TOKENS_PER_FRAME
            per_token = torch.where(given, 0.0, per_token)
            weight = torch.where(given, 0.0, weight)
        noise = torch.randn(clean.shape, generator=self.generator)
        noisy = torch.lerp(clean, noise, per_token[:, :, None])
        timestep = (per_token if kind.first_frame_given else sigma) * 1000.0
        # the fused CPU attention has a slow bfloat16 backward pass; plain matrix products are the faster ones here
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bfloat16), sdpa_kernel(SDPBackend.MATH):
            velocity = denoise(self.pipe, noisy, self._text(pool, index), timestep, sigma * 1000.0, kind.num_frames)
        error = (velocity.float() - (noise - clean)).square().mean(-1)
        return (error * weight).sum() / weight.sum()

    def _draw_sigma(self, count: int) -> Tensor:
        """Noise levels in 0..1: logit-normal towards high noise, where a caption decides what a clip will show; a tenth uniform."""
        drawn = torch.sigmoid(0.9 + 1.2 * torch.randn(count, generator=self.generator))
        uniform = torch.rand(count, generator=self.generator)
        return torch.where(torch.rand(count, generator=self.generator) < 0.1, uniform, drawn)

    def _text(self, pool: Pool, index: Tensor) -> Tensor:
        """Token ids [B, L] of one caption per clip, some of them empty."""
        which = torch.from_numpy(self.rng.integers(pool.captions.shape[1], size=len(index)))
        ids = pool.captions[index, which]
        dropped = torch.from_numpy(self.rng.random(len(index)) < self.recipe.caption_dropout)
        return torch.where(dropped[:, None], self.empty, ids).long()

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        return {
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "parameters": self.parameters,
            "average": self.average,
            "optimisers": [o.state_dict() for o in self.optimisers],
            "rng": self.rng.bit_generator.state,
            "generator": self.generator.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]
        copy_into(state["parameters"], self.parameters)
        self.average = [tensor.clone() for tensor in state["average"]]
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.rng.bit_generator.state = state["rng"]
        self.generator.set_state(state["generator"])

    def averaged(self) -> Swapped:
        """Context in which the pipeline holds the averaged weights."""
        return Swapped(self.parameters, self.average)


class Swapped:
    """Holds other values in parameters while it is entered."""

    def __init__(self, parameters: list[Tensor], values: list[Tensor]) -> None:
        self.parameters, self.values = parameters, values

    def __enter__(self) -> None:
        self.kept = [p.detach().clone() for p in self.parameters]
        copy_into(self.values, self.parameters)

    def __exit__(self, *_: object) -> None:
        copy_into(self.kept, self.parameters)


def denoise(pipe: Any, noisy: Tensor, ids: Tensor, timestep: Tensor, sigma: Tensor, num_frames: int) -> Tensor:
    """Velocity [B, N, C] predicted for packed noisy latents; timestep [B] or [B, N] and sigma [B] on the 0..1000 scale.

    The audio branch is isolated with one dummy token: its gates into the video are zero anyway.
    """
    batch = len(noisy)
    mask = (ids != 0).long()
    with torch.no_grad():
        states = pipe.text_encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        states = torch.stack(states, dim=-1).flatten(2, 3)
    text, _, _ = pipe.connectors(states, mask, padding_side="left")
    silence = torch.zeros(batch)
    velocity: Tensor = pipe.transformer(
        hidden_states=noisy,
        audio_hidden_states=torch.zeros(batch, 1, pipe.transformer.config.audio_in_channels),
        encoder_hidden_states=text,
        audio_encoder_hidden_states=torch.zeros(batch, 1, HEADS * AUDIO_HEAD_DIM),
        timestep=timestep,
        sigma=sigma,
        audio_timestep=silence,
        audio_sigma=silence,
        num_frames=(num_frames - 1) // FRAME_STEP + 1,
        height=FRAME_SIZE // SPATIAL_COMPRESSION,
        width=FRAME_SIZE // SPATIAL_COMPRESSION,
        fps=float(FRAMES_PER_SECOND),
        audio_num_frames=1,
        isolate_modalities=True,
        use_cross_timestep=True,
        return_dict=False,
    )[0]
    return velocity


def trainable(pipe: Any) -> list[tuple[str, Tensor]]:
    """Weights of the video path: everything that is not of the audio branch, which stays silent."""
    named = [*pipe.transformer.named_parameters(), *pipe.connectors.named_parameters()]
    return [(name, p) for name, p in named if "audio" not in name and "a2v" not in name and "av_cross" not in name]


def copy_into(values: list[Tensor], into: list[Tensor]) -> None:
    """Overwrite parameters with values, one by one."""
    with torch.no_grad():
        for target, value in zip(into, values, strict=True):
            target.copy_(value)
