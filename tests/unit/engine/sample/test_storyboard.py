"""Which scene of a storyboard is denoised again, and which of its takes stays. The renderer is scripted; the film is real."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.config import SampleConfig
from engine.contracts.generation import MAX_SEED, Scene, Storyboard
from engine.contracts.geometry import Geometry
from engine.model.loader import ResidentBase
from engine.ports import NeverCancelled, NullSink
from engine.sample.progress import Progress
from engine.sample.storyboard import film
from engine.sample.video import RenderedClip

GEOMETRY = Geometry(width=32, height=32, num_frames=9, fps=8)


class Scripted:
    """Renders clips whose pixels are a likeness, and judges by it: seed -> likeness, 200 unless said otherwise."""

    def __init__(self, **likeness: int) -> None:
        self.likeness_of = {int(seed[1:]): value for seed, value in likeness.items()}
        self.rendered: list[tuple[str, int]] = []

    def render(self, config: SampleConfig) -> RenderedClip:
        self.rendered.append((config.prompt, config.seed))
        value = self.likeness_of.get(config.seed, 200)
        frames = np.full((2, 4, 4, 3), value, dtype=np.uint8)
        audio = np.full((1, 4), value / 1000, dtype=np.float32) if value != 199 else None
        return RenderedClip(frames, 8.0, audio, 16 if audio is not None else 0, config.seed, GEOMETRY, prompt=config.prompt + "!")

    def likeness(self, clips: Sequence[NDArray[np.uint8]]) -> list[float]:
        return [float(clip[0, 0, 0, 0]) / 255 for clip in clips]


def play(tiny: ResidentBase, script: Scripted, *, scenes: int = 3, seed: int = 10, rerolls: int = 4, judged: bool = True) -> RenderedClip:
    board = Storyboard(scenes=tuple(Scene(prompt=f"scene {index}") for index in range(scenes)), rerolls=rerolls)
    config = SampleConfig(prompt="a day", geometry=GEOMETRY, seed=seed, storyboard=board)
    progress = Progress(tiny, NullSink(), NeverCancelled(), 1, None)
    return film(config, board, script.render, script if judged else None, progress)


def test_film_holds_every_scene_in_order_when_all_are_alike(tiny: ResidentBase) -> None:
    """Frames one after the other, seeds counted up from the job's, nothing denoised twice, the prompts as denoised."""
    script = Scripted()
    clip = play(tiny, script)
    assert script.rendered == [("scene 0", 10), ("scene 1", 11), ("scene 2", 12)]
    assert clip.frames.shape == (6, 4, 4, 3)
    assert [(scene.prompt, scene.seed, scene.rerolls) for scene in clip.scenes] == [
        ("scene 0!", 10, 0), ("scene 1!", 11, 0), ("scene 2!", 12, 0),
    ]  # fmt: skip
    assert (clip.prompt, clip.seed) == ("a day", 10)


def test_film_denoises_a_scene_again_when_its_subject_falls_off(tiny: ResidentBase) -> None:
    """The better take stays and says how often it was tried; the others are not touched."""
    script = Scripted(s11=100)
    clip = play(tiny, script)
    assert script.rendered[3:] == [("scene 1", 14)]
    assert [scene.seed for scene in clip.scenes] == [10, 14, 12]
    assert [scene.rerolls for scene in clip.scenes] == [0, 1, 0]
    assert clip.scenes[1].identity == pytest.approx(200 / 255, abs=1e-3)


def test_film_keeps_the_first_take_when_another_is_worse(tiny: ResidentBase) -> None:
    """A re-roll never makes the film worse, and stops when its number is used up."""
    script = Scripted(s11=100, s14=90, s17=95)
    clip = play(tiny, script, rerolls=2)
    assert [seed for _, seed in script.rendered] == [10, 11, 12, 14, 17]
    assert [scene.seed for scene in clip.scenes] == [10, 11, 12]
    assert clip.scenes[1].rerolls == 2


def test_film_is_not_judged_when_there_is_no_judge(tiny: ResidentBase) -> None:
    """No measure, no re-roll, and no invented figure."""
    script = Scripted(s11=10)
    clip = play(tiny, script, judged=False)
    assert len(script.rendered) == 3
    assert [scene.identity for scene in clip.scenes] == [None] * 3


def test_film_counts_seeds_round_when_they_end(tiny: ResidentBase) -> None:
    """The seed after the last is 0."""
    assert [scene.seed for scene in play(tiny, Scripted(), seed=MAX_SEED).scenes] == [MAX_SEED, 0, 1]


def test_film_keeps_pictures_and_sound_together_when_a_scene_is_silent(tiny: ResidentBase) -> None:
    """The silent scene is silent for as long as it is seen."""
    clip = play(tiny, Scripted(s11=199))
    assert clip.audio is not None
    assert clip.audio.shape == (1, 3 * 4)
    assert clip.audio[0].tolist() == pytest.approx([0.2] * 4 + [0.0] * 4 + [0.2] * 4)
