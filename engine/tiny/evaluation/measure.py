"""The measurements behind a report: each renders what it needs through the product's own path and returns plain figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from engine.config import GuideVideo, SampleConfig
from engine.contracts.geometry import Geometry
from engine.model.adapters import LoadedUse
from engine.model.loader import ResidentBase
from engine.sample.generate import generate
from engine.tiny.evaluation import prompts
from engine.tiny.evaluation.oracle import Clip, read
from engine.tiny.evaluation.scores import follows, identity, normalised, shows_motion, silhouette_iou, style_match
from engine.tiny.sets import write_mp4
from engine.tiny.sprites import Character
from engine.tiny.styles import Style
from engine.tiny.vae import decode, encode, psnr_db, to_video
from engine.tiny.world import Scene, random_clip, render

_GUIDE_SCALE: Final = 16  # pixels per logical pixel of a guide, as people would bring it
SWEEP: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
Examples = list[tuple[str, Clip]]


@dataclass(frozen=True)
class Bench:
    """A base, the seeds clips are drawn with, and who to tell about every clip rendered."""

    resident: ResidentBase
    seeds: Sequence[int]
    advance: Callable[[], None] = lambda: None

    def clip(self, prompt: str, seed: int, uses: Sequence[LoadedUse] = (), guide: Path | None = None) -> Clip:
        """One clip of the base's default geometry, [F, H, W, 3] uint8; `guide` is the clip whose outlines an effect follows."""
        rule = self.resident.base.profile.geometry
        width, height = rule.aspects["1:1"]
        geometry = Geometry(width=width, height=height, num_frames=rule.default_frames, fps=rule.fps)
        guiding = GuideVideo(path=guide) if guide is not None else None
        frames = generate(self.resident, SampleConfig(prompt=prompt, geometry=geometry, seed=seed, guide=guiding), uses).frames
        self.advance()
        return frames

    def clips(
        self, asked: Sequence[tuple[str, Scene | None]], uses: Sequence[LoadedUse] = (), seeds: Sequence[int] | None = None
    ) -> list[Clip]:
        """All prompts with all seeds, seeds outermost."""
        return [self.clip(text, 1000 * seed + i, uses) for seed in seeds or self.seeds for i, (text, _) in enumerate(asked)]


@dataclass(frozen=True)
class Following:
    """Rates of success of the bare base on captions that tell everything."""

    rates: dict[str, float]
    examples: Examples


def reconstruction_db(resident: ResidentBase, count: int = 64, seed: int = 987_654) -> float:
    """PSNR of the VAE on `count` clips that pretraining did not see."""
    rng = np.random.default_rng(seed)
    video = to_video(np.stack([random_clip(rng, resident.base.profile.geometry.default_frames)[0] for _ in range(count)]))
    vae = resident.pipeline.vae
    with torch.no_grad():
        restored = decode(vae, encode(vae, video.to(resident.device))).cpu()
    return psnr_db(video, restored)


def oracle_accuracy(count: int = 40, seed: int = 5) -> dict[str, float]:
    """How often the oracle is right about rendered ground truth."""
    return _rates(follows(read(render(scene)), scene) for _, scene in prompts.base_scenes(count, seed))


def caption_following(bench: Bench, count: int = 24) -> Following:
    """The bare base on `count` prompts per seed."""
    asked = prompts.base_scenes(count, 0)
    clips = bench.clips(asked)
    scenes = [scene for _, scene in asked] * len(bench.seeds)
    rates = _rates(follows(read(clip), scene) for clip, scene in zip(clips, scenes, strict=True))
    return Following(rates, [(text, clip) for (text, _), clip in zip(asked, clips, strict=False)])


def character_identity(bench: Bench, character: Character, use: LoadedUse) -> tuple[float, Examples]:
    """Normalised identity of a character's LoRA, and clips of base and LoRA in turn."""
    asked = prompts.character_scenes(character)
    base, tuned = bench.clips(asked), bench.clips(asked, [use])
    truth = fmean(identity(render(scene), character) for _, scene in asked)
    score = normalised(_mean_identity(tuned, character), _mean_identity(base, character), truth)
    return score, _paired(asked, base, tuned)


def drift(bench: Bench, character: Character, use: LoadedUse) -> tuple[float, Examples]:
    """How much a LoRA changes clips that do not ask for it: the worse of two shares.

    Leak: normalised identity of its character where nobody asked for it. Loss: share of the base's caption following that
    is gone. The prompts tell ordinary characters, every fourth one just "a creature".
    """
    asked = prompts.ordinary_scenes()
    base, tuned = bench.clips(asked), bench.clips(asked, [replace(use, trigger=None)])
    leak = normalised(_mean_identity(tuned, character), _mean_identity(base, character), 1.0)
    scenes = [scene for _, scene in asked] * len(bench.seeds)
    kept, had = _mean_following(tuned, scenes), _mean_following(base, scenes)
    return max(0.0, leak, (had - kept) / max(had, 1e-6)), _paired(asked, base, tuned)


def style_strength(bench: Bench, style: Style, use: LoadedUse) -> tuple[float, float, Examples]:
    """Normalised match of a style LoRA's clips with the style's colours, and how much of the caption they still show.

    The latter is the rate of right shapes, directions and places, read through the style: colours alone could be those of fog.
    """
    asked = prompts.style_scenes(style)
    base, tuned = bench.clips(asked), bench.clips(asked, [use])
    score = normalised(_mean_style(tuned, style), _mean_style(base, style), 1.0)
    scenes = [scene for _, scene in asked] * len(bench.seeds)
    rates = _rates(follows(read(clip, style), scene) for clip, scene in zip(tuned, scenes, strict=True))
    return score, fmean(rates[part] for part in ("shape", "direction", "background")), _paired(asked, base, tuned)


def stacked(
    bench: Bench, character: Character, style: Style, character_use: LoadedUse, style_use: LoadedUse
) -> tuple[float, float, Examples]:
    """Identity and style of clips with both LoRAs; identity is 0 for what the style alone gives for the same prompt."""
    asked = prompts.character_scenes(character, style)
    base, only_style = bench.clips(asked), bench.clips(asked, [style_use])
    both = bench.clips(asked, [character_use, style_use])
    truth = fmean(identity(render(scene), character, style) for _, scene in asked)
    shown = normalised(_mean_identity(both, character, style), _mean_identity(only_style, character, style), truth)
    styled = normalised(_mean_style(both, style), _mean_style(base, style), 1.0)
    return shown, styled, _paired(asked, only_style, both)


def motion_share(bench: Bench, motion: str, use: LoadedUse) -> tuple[float, float, Examples]:
    """Share of clips in which a motion LoRA's motion appears, the same without the LoRA, and clips of base and LoRA in turn."""
    asked = prompts.motion_scenes(motion)
    base, tuned = bench.clips(asked), bench.clips(asked, [use])
    with_it, without = (fmean(shows_motion(read(clip), motion) for clip in clips) for clips in (tuned, base))
    return with_it, without, _paired(asked, base, tuned)


def edges_followed(bench: Bench, use: LoadedUse, folder: Path) -> tuple[float, float, Examples]:
    """Overlap (IoU) of generated figures with those whose outlines guide them, the same without the LoRA, and examples.

    The guides are written to `folder` as clips of the true scenes; what is extracted from them is the LoRA's affair.
    """
    asked = prompts.guided_scenes()
    folder.mkdir(parents=True, exist_ok=True)
    guides = [folder / f"guide-{index:02d}.mp4" for index in range(len(asked))]
    truths = [render(scene) for _, scene in asked]
    for path, (_, scene) in zip(guides, asked, strict=True):
        write_mp4(render(scene, scale=_GUIDE_SCALE), path)
    base = bench.clips(asked)
    tuned = [
        bench.clip(text, 1000 * seed + i, [use], guide)
        for seed in bench.seeds
        for i, ((text, _), guide) in enumerate(zip(asked, guides, strict=True))
    ]
    wanted = truths * len(bench.seeds)
    with_it, without = (fmean(silhouette_iou(clip, truth) for clip, truth in zip(clips, wanted, strict=True)) for clips in (tuned, base))
    return with_it, without, _paired(asked, base, tuned)


def weight_sweep(bench: Bench, character: Character, use: LoadedUse) -> tuple[dict[str, float], bool, Examples]:
    """Normalised identity by LoRA weight (first seed), whether weight 0 gives the base's frames exactly, and one prompt's clips."""
    asked = prompts.character_scenes(character)
    seeds = bench.seeds[:1]
    base = bench.clips(asked, seeds=seeds)
    clips = {weight: bench.clips(asked, [replace(use, weight=weight)], seeds) for weight in SWEEP}
    zero = _mean_identity(base, character)
    figures = {f"{weight:.2f}": normalised(_mean_identity(found, character), zero, 1.0) for weight, found in clips.items()}
    exact = all(np.array_equal(one, other) for one, other in zip(base, clips[0.0], strict=True))
    return figures, exact, [(f"{use.name} x {weight:.2f}: {asked[0][0]}", found[0]) for weight, found in clips.items()]


def seconds_per_clip(bench: Bench, repeats: int = 5) -> float:
    """Median time of one clip, prompt to frames, text not cached."""
    spans = []
    for i in range(repeats):
        started = time.perf_counter()
        bench.clip(f"a red ball walking left in a forest {i}", i)
        spans.append(time.perf_counter() - started)
    return median(spans)


def _rates(found: Iterable[dict[str, bool]]) -> dict[str, float]:
    rows = list(found)
    return {key: fmean(row[key] for row in rows) for key in rows[0]}


def _mean_following(clips: Sequence[Clip], scenes: Sequence[Scene | None]) -> float:
    told = [(clip, scene) for clip, scene in zip(clips, scenes, strict=True) if scene is not None]
    return fmean(fmean(follows(read(clip), scene).values()) for clip, scene in told)


def _mean_identity(clips: Sequence[Clip], character: Character, style: Style | None = None) -> float:
    return fmean(identity(clip, character, style) for clip in clips)


def _mean_style(clips: Sequence[NDArray[np.uint8]], style: Style) -> float:
    return fmean(style_match(clip, style) for clip in clips)


def _paired(asked: Sequence[tuple[str, Scene | None]], before: Sequence[Clip], after: Sequence[Clip]) -> Examples:
    """Clips of the first seed, without and with, in turn."""
    pairs = zip(asked, before, after, strict=False)
    return [entry for (text, _), one, other in pairs for entry in ((f"without: {text}", one), (f"with: {text}", other))]
