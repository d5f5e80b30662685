"""Pretrain the tiny base from nothing: `python -m engine.tiny.pretrain --work DIR [--steps N | --minutes M] [--export]`.

Stages, each kept in DIR and skipped when it is there already: the VAE's encoder and a first decoder, the pools of encoded
clips, the denoiser with its text connectors (checkpointed, resumable), the decoder's long training. DIR also gets
`loss.csv`, `loss.png` and contact sheets; `--export` writes `engine/tiny/weights`.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from rich.progress import Progress
from transformers import GemmaTokenizer

from engine.tiny import sheets
from engine.tiny.architecture import WEIGHTS_DIR, build_pipeline, save_pipeline
from engine.tiny.captions import describe
from engine.tiny.pool import Pool, build_pool
from engine.tiny.trainer import Recipe, Trainer, copy_into
from engine.tiny.vae import fit_decoder, fit_encoder, to_video, train_decoder
from engine.tiny.world import random_clip, random_scene

_SAVE_EVERY: Final = 100  # steps
_SHEET_EVERY: Final = 400  # steps


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
    vae_file, pool_file, tokenizer_folder = work / "vae.pt", work / "pools.pt", work / "tokenizer"
    if tokenizer_folder.exists():  # token ids must not change under a checkpoint when the world's captions do
        pipe.register_modules(tokenizer=GemmaTokenizer.from_pretrained(tokenizer_folder))
    else:
        pipe.tokenizer.save_pretrained(tokenizer_folder)
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
    copy_into(trainer.average, trainer.parameters)
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
