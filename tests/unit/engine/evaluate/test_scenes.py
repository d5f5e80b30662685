"""The judge of a storyboard sees the subject and not what is behind it."""

from __future__ import annotations

import numpy as np
import pytest

from engine.evaluate.identity import Correlogram
from engine.evaluate.scenes import SceneJudge, subject_of
from engine.sample.storyboard import FALLS_OFF
from engine.tiny.sprites import Character
from engine.tiny.world import MOTIONS, render, scene_with

HERO = Character("robot", "purple", "white", "wizard hat", "yellow", "zoko")
OTHER = Character("ball", "green", "orange", "top hat", "pink", "tarbo")
_MOVING = [motion for motion in MOTIONS if motion != "still"]


def clip_of(character: Character, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return render(scene_with(rng, character, motion=_MOVING[rng.integers(len(_MOVING))], num_frames=9))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("odd", range(4))
def test_scene_with_another_character_falls_off(seed: int, odd: int) -> None:
    """Four scenes with four backgrounds: the one with somebody else in it is the least alike, and clearly."""
    clips = [clip_of(OTHER if index == odd else HERO, 100 * seed + index) for index in range(4)]
    scores = SceneJudge(Correlogram()).likeness(clips)
    assert int(np.argmin(scores)) == odd
    assert scores[odd] < FALLS_OFF * float(np.median(np.delete(scores, odd)))


def test_clip_beside_itself_is_fully_alike() -> None:
    """The scale ends at 1."""
    clip = clip_of(HERO, 1)
    assert SceneJudge(Correlogram()).likeness([clip, clip]) == pytest.approx([1.0, 1.0], abs=1e-4)


def test_subject_is_what_moves_and_all_of_a_clip_where_nothing_does() -> None:
    """Grey where the background stands still; a still clip is left as it is."""
    clip = clip_of(HERO, 3)
    seen = subject_of(clip)
    assert 0.4 < float((seen == 128).all(axis=-1).mean()) < 0.98
    still = np.repeat(clip[:1], 9, axis=0)
    assert np.array_equal(subject_of(still), still)
