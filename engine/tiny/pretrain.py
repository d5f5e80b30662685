"""Pretrain the tiny base from nothing: `python -m engine.tiny.pretrain --work DIR [--steps N | --minutes M] [--export]`.

Stages, each kept in DIR and skipped when it is there already: the VAE's encoder and a first decoder, the pools of encoded
clips, the denoiser with its text connectors (checkpointed, resumable), the decoder's long training. DIR also gets
`loss.csv`, `loss.png` and contact sheets; `--export` writes `engine/tiny/weights`.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor

from engine.tiny import sheets
from engine.tiny.architecture import (
    AUDIO_HEAD_DIM,
    FRAME_SIZE,
    FRAME_STEP,
    FRAMES_PER_SECOND,
    HEADS,
    SPATIAL_COMPRESSION,
    WEIGHTS_DIR,
    build_pipeline,
    save_pipeline,
)
from engine.tiny.captions import describe
from engine.tiny.muon import StackedMuon
from engine.tiny.pool import Pool, build_pool, tokenise
from engine.tiny.vae import fit_decoder, fit_encoder, to_video, train_decoder
from engine.tiny.world import random_clip, random_scene


@dataclass(frozen=True)
class Recipe:
    """All figures of the run. Rates are peaks; the denoiser's fall to zero over the last `decay` of the run."""

    seed: int = 0
    steps: int = 3200
    clips: int = 24000
    images: int = 9000
    long_clips: int = 2500
    muon_rate: float = 6e-3
    adam_rate: float = 2e-3
    warmup_steps: int = 40
    decay: float = 0.9
    ema: float = 0.998
    caption_dropout: float = 0.12
    inside_weight: float = 2.5  # loss weight of tokens the character touches
    vae_clips: int = 800
    first_decoder_s: float = 60.0
    decoder_s: float = 420.0


@dataclass(frozen=True)
class BatchKind:
    """One sort of training batch: which pool, how many, how often, and whether the first frame is given clean."""

    num_frames: int
    batch_size: int
    share: float
    first_frame_given: bool = False


KINDS: Final = (
    BatchKind(9, 32, 0.62),
    BatchKind(1, 48, 0.25),
    BatchKind(17, 14, 0.06),
    BatchKind(9, 24, 0.07, first_frame_given=True),
)
_TOKENS_PER_FRAME: Final = (FRAME_SIZE // SPATIAL_COMPRESSION) ** 2
_SAVE_EVERY: Final = 100  # steps
_SHEET_EVERY: Final = 400  # steps


class Trainer:
    """The denoiser's training: model, optimisers, averaged weights and the position in the run."""

    def __init__(self, pipe: Any, pools: dict[int, Pool], recipe: Recipe) -> None:
        self.pipe, self.pools, self.recipe = pipe, pools, recipe
        self.step = 0
        self.elapsed_s = 0.0
        named = dict(_trainable(pipe))
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
        kind = KINDS[self.rng.choice(len(KINDS), p=[k.share for k in KINDS])]
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
        velocity = denoise(self.pipe, noisy, self._text(pool, index), timestep, sigma * 1000.0, kind.num_frames)
        error = (velocity - (noise - clean)).square().mean(-1)
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
        _copy(state["parameters"], self.parameters)
        self.average = [tensor.clone() for tensor in state["average"]]
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.rng.bit_generator.state = state["rng"]
        self.generator.set_state(state["generator"])

    def averaged(self) -> _Swapped:
        """Context in which the pipeline holds the averaged weights."""
        return _Swapped(self.parameters, self.average)


class _Swapped:
    def __init__(self, parameters: list[Tensor], values: list[Tensor]) -> None:
        self.parameters, self.values = parameters, values

    def __enter__(self) -> None:
        self.kept = [p.detach().clone() for p in self.parameters]
        _copy(self.values, self.parameters)

    def __exit__(self, *_: object) -> None:
        _copy(self.kept, self.parameters)


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


def _trainable(pipe: Any) -> list[tuple[str, Tensor]]:
    """Weights of the video path: everything that is not of the audio branch, which stays silent."""
    named = [*pipe.transformer.named_parameters(), *pipe.connectors.named_parameters()]
    return [(name, p) for name, p in named if "audio" not in name and "a2v" not in name and "av_cross" not in name]


def _copy(values: list[Tensor], into: list[Tensor]) -> None:
    with torch.no_grad():
        for target, value in zip(into, values, strict=True):
            target.copy_(value)


def _tokenizer_captions(seed: int) -> list[str]:
    """Captions without any name: of characters or of styles."""
    rng = np.random.default_rng(seed)
    plain = [describe(random_scene(rng, 9, named=0.0, styled=0.0), rng) for _ in range(4000)]
    return [*plain, *(f"{text} in style" for text in plain[:400]), *(f"{text}, style" for text in plain[:200])]


def _draw_clips(rng: np.random.Generator, count: int) -> Any:
    return np.stack([random_clip(rng, 9)[0] for _ in range(count)])


def prepare(work: Path, recipe: Recipe, progress: Progress) -> tuple[Any, dict[int, Pool]]:
    """The pipeline with a fitted VAE, and the pools; both are read from `work` when they are there."""
    pipe: Any = build_pipeline(recipe.seed, _tokenizer_captions(recipe.seed))
    vae_file, pool_file = work / "vae.pt", work / "pools.pt"
    rng = np.random.default_rng(recipe.seed + 1)
    if vae_file.exists():
        pipe.vae.load_state_dict(torch.load(vae_file))
    else:
        torch.manual_seed(recipe.seed)
        video = to_video(_draw_clips(rng, recipe.vae_clips))
        fit_encoder(pipe.vae, video)
        fit_decoder(pipe.vae, video)
        train_decoder(pipe.vae, lambda n: _draw_clips(rng, n), seconds=recipe.first_decoder_s, batch_size=16, learning_rate=5e-4)
        torch.save(pipe.vae.state_dict(), vae_file)
    if pool_file.exists():
        return pipe, {pool["num_frames"]: Pool(**pool) for pool in torch.load(pool_file)}
    sizes = {9: recipe.clips, 1: recipe.images, 17: recipe.long_clips}
    task = progress.add_task("clips", total=sum(sizes.values()))
    pools = {
        num_frames: build_pool(
            pipe.vae, pipe.tokenizer, num_frames=num_frames, size=size, seed=recipe.seed + num_frames,
            advance=lambda count: progress.advance(task, count),
        )
        for num_frames, size in sizes.items()
    }  # fmt: skip
    torch.save([asdict(pool) for pool in pools.values()], pool_file)
    return pipe, pools


def train(trainer: Trainer, work: Path, minutes: float | None, progress: Progress) -> None:
    """Run the denoiser's training to its end, saving and drawing as it goes."""
    checkpoint = work / "checkpoint.pt"
    if checkpoint.exists():
        trainer.restore(torch.load(checkpoint))
    total = trainer.recipe.steps
    task = progress.add_task("denoiser", total=total, completed=trainer.step)
    with (work / "loss.csv").open("a", newline="") as file:
        log = csv.writer(file)
        while True:
            done = trainer.step / total if minutes is None else trainer.elapsed_s / (60.0 * minutes)
            if done >= 1.0:
                break
            started = time.monotonic()
            kind, loss = trainer.train_step(done)
            trainer.elapsed_s += time.monotonic() - started
            log.writerow([trainer.step, kind.num_frames, int(kind.first_frame_given), f"{loss:.5f}", f"{trainer.elapsed_s:.1f}"])
            progress.update(task, completed=trainer.step, total=max(total, trainer.step), description=f"denoiser {loss:.3f}")
            if trainer.step % _SAVE_EVERY == 0:
                file.flush()
                partial = checkpoint.with_suffix(".part")
                torch.save(trainer.state(), partial)
                partial.rename(checkpoint)
            if trainer.step % _SHEET_EVERY == 0:
                sheets.plot_losses(work / "loss.csv", work / "loss.png")
                with trainer.averaged():
                    sheets.draw_samples(trainer.pipe, work / f"samples_{trainer.step:05d}.png")
    torch.save(trainer.state(), checkpoint)


def main() -> None:
    """Run or resume the stages in `--work`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of pools, checkpoints, plots")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--minutes", type=float, default=None, help="length of the denoiser's training by the clock")
    parser.add_argument("--decoder-seconds", type=float, default=Recipe.decoder_s)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--export", action="store_true", help=f"write the weights at the end to {WEIGHTS_DIR.name}/")
    parser.add_argument("--only-export", action="store_true", help="export the latest checkpoint's averaged weights and stop")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    recipe = Recipe(steps=arguments.steps, decoder_s=arguments.decoder_seconds)
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    with Progress(refresh_per_second=0.2) as progress:
        pipe, pools = prepare(work, recipe, progress)
        trainer = Trainer(pipe, pools, recipe)
        if arguments.only_export:
            trainer.restore(torch.load(work / "checkpoint.pt"))
        else:
            train(trainer, work, arguments.minutes, progress)
            finish_decoder(pipe, work, recipe, progress)
    _copy(trainer.average, trainer.parameters)
    if arguments.export or arguments.only_export:
        save_pipeline(pipe, WEIGHTS_DIR)
    sheets.draw_samples(pipe, work / "samples.png")


def finish_decoder(pipe: Any, work: Path, recipe: Recipe, progress: Progress) -> None:
    """The decoder's long training against the frozen encoder, once."""
    done = work / "vae_final.pt"
    if done.exists():
        pipe.vae.load_state_dict(torch.load(done))
        return
    task = progress.add_task("decoder", total=recipe.decoder_s)
    rng = np.random.default_rng(recipe.seed + 2)
    train_decoder(
        pipe.vae,
        lambda n: _draw_clips(rng, n),
        seconds=recipe.decoder_s,
        batch_size=16,
        learning_rate=5e-4,
        report=lambda _step, loss, elapsed: progress.update(task, completed=elapsed, description=f"decoder {loss:.4f}"),
    )
    torch.save(pipe.vae.state_dict(), done)


if __name__ == "__main__":
    main()
