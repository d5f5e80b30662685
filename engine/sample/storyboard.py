"""Scenes to one film with the same subject in each: the scene that falls off is denoised again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Final

import numpy as np

from engine.config import SampleConfig
from engine.contracts.generation import MAX_SEED, Storyboard
from engine.contracts.results import SceneRendered
from engine.ports import IdentityJudge
from engine.sample.progress import Progress
from engine.sample.video import RenderedClip

FALLS_OFF: Final = 0.75
"""Share of the other scenes' median likeness below which a scene is denoised again.

On 60 storyboards painted from the tiny world, 57 of 60 scenes with somebody else in them lie below it, and 1 of 60 without.
"""


def film(
    config: SampleConfig,
    storyboard: Storyboard,
    render: Callable[[SampleConfig], RenderedClip],
    judge: IdentityJudge | None,
    progress: Progress,
) -> RenderedClip:
    """Render every scene, then re-roll the worst until all are alike or the re-rolls are used up; of two takes the more alike stays.

    Raises:
        as `render`.
    """
    configs = [
        config.model_copy(
            update={"prompt": scene.prompt, "seed": _seed(config.seed, index) if scene.seed is None else scene.seed, "storyboard": None}
        )
        for index, scene in enumerate(storyboard.scenes)
    ]
    takes = [render(scene) for scene in configs]
    rerolls = [0] * len(takes)
    scores = _scores(judge, takes)
    for _ in range(storyboard.rerolls if judge is not None else 0):
        worst = _falls_off(scores)
        if worst is None:
            break
        progress.check()
        rerolls[worst] += 1
        seed = _seed(configs[worst].seed, len(takes) * rerolls[worst])
        again = render(configs[worst].model_copy(update={"seed": seed}))
        with_again = [*takes[:worst], again, *takes[worst + 1 :]]
        new_scores = _scores(judge, with_again)
        if new_scores[worst] > scores[worst]:
            takes, scores = with_again, new_scores
    scenes = tuple(
        SceneRendered(prompt=take.prompt, seed=take.seed, identity=None if judge is None else round(score, 4), rerolls=count)
        for take, score, count in zip(takes, scores, rerolls, strict=True)
    )
    return replace(_cut(takes), prompt=config.prompt, seed=config.seed, scenes=scenes)


def _scores(judge: IdentityJudge | None, takes: list[RenderedClip]) -> list[float]:
    return [0.0] * len(takes) if judge is None else judge.likeness([take.frames for take in takes])


def _falls_off(scores: list[float]) -> int | None:
    """The scene with the lowest likeness, when it is clearly below the others."""
    worst = min(range(len(scores)), key=scores.__getitem__)
    others = [score for index, score in enumerate(scores) if index != worst]
    return worst if scores[worst] < FALLS_OFF * median(others) else None


def _cut(takes: list[RenderedClip]) -> RenderedClip:
    """One clip after the other, with their sound; a scene without any is silent that long."""
    frames = np.concatenate([take.frames for take in takes])
    rate = max(take.audio_rate for take in takes)
    if not rate:
        return replace(takes[0], frames=frames, audio=None)
    channels = max(len(take.audio) for take in takes if take.audio is not None)
    pieces = []
    for take in takes:
        samples = np.zeros((channels, round(len(take.frames) / take.fps * rate)), dtype=np.float32)
        if take.audio is not None:
            length = min(samples.shape[1], take.audio.shape[1])
            samples[:, :length] = take.audio[:, :length]
        pieces.append(samples)
    return replace(takes[0], frames=frames, audio=np.concatenate(pieces, axis=1), audio_rate=rate)


def _seed(seed: int, offset: int) -> int:
    return (seed + offset) % (MAX_SEED + 1)
