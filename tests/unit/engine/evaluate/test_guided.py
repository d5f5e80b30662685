"""How well clips follow their guides, on frames whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from engine.control.edges import edges
from engine.evaluate.guided import Adherence
from engine.evaluate.identity import Frames


def _clip(place: int, colour: tuple[int, int, int] = (250, 0, 0), count: int = 5) -> Frames:
    """A square of `colour` on grey that walks right from `place`."""
    clip = np.full((count, 32, 32, 3), 90, dtype=np.uint8)
    for index, frame in enumerate(clip):
        frame[10:20, place + index : place + index + 10] = colour
    return clip


TRUTHS = [_clip(2), _clip(12)]
ADHERENCE = Adherence.to(TRUTHS, unguided=[_clip(14), _clip(3)], extract=edges)


def test_scale_runs_from_the_bare_base_to_the_guide() -> None:
    """Clips as the base's score 0, clips as the guides want them 1."""
    assert ADHERENCE.of([_clip(14), _clip(3)]) == pytest.approx(0.0, abs=1e-6)
    assert ADHERENCE.of(TRUTHS) == pytest.approx(1.0, abs=1e-6)
    assert 0.4 < ADHERENCE.of([TRUTHS[0], _clip(3)]) < 0.7


def test_only_what_guides_counts() -> None:
    """Outlines say where, not which colour."""
    assert ADHERENCE.of([_clip(2, (0, 120, 250)), _clip(12, (10, 250, 10))]) > 0.95


def test_nearer_is_better_and_a_pixel_beside_is_nearly_right() -> None:
    """So a training that gets nearer is seen to, before it is right."""
    beside = [ADHERENCE.of([_clip(2 + off), _clip(12 - off)]) for off in (0, 1, 3, 6)]
    assert beside == sorted(beside, reverse=True)
    assert beside[1] > 0.5 > beside[3]


def test_pairs_are_compared_as_they_are() -> None:
    """Of video-to-video the colours count as well."""
    as_it_is = Adherence.to(TRUTHS, unguided=[_clip(14), _clip(3)], extract=lambda clip: clip)
    assert as_it_is.of(TRUTHS) == pytest.approx(1.0, abs=1e-6)
    assert as_it_is.of([_clip(2, (0, 120, 250)), _clip(12, (10, 250, 10))]) < 0.7


def test_clips_that_show_nothing_score_no_better_than_chance() -> None:
    """A grey clip has no outlines; nothing is divided by zero."""
    grey = np.full_like(TRUTHS[0], 90)
    assert ADHERENCE.of([grey, grey]) < 0.05
