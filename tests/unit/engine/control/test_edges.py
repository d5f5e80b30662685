"""Outlines: found at any size and between any colours, the same for the same frame."""

from __future__ import annotations

import numpy as np
import pytest

from engine.contracts.controls import Control, ControlKind
from engine.control.edges import edges
from engine.control.extract import extractor_for, guiding_frames


def _square(side: int, inside: tuple[int, int, int], outside: tuple[int, int, int]) -> np.ndarray:
    """One frame with a square over the middle half."""
    frame = np.full((1, side, side, 3), outside, dtype=np.uint8)
    frame[:, side // 4 : -side // 4, side // 4 : -side // 4] = inside
    return frame


@pytest.mark.parametrize("side", [32, 512])
def test_edges_draw_one_closed_line_around_a_shape(side: int) -> None:
    """A filled square becomes its outline and nothing else, on a tiny frame as on a large one."""
    drawn = edges(_square(side, (214, 34, 40), (44, 214, 226)))
    white = drawn[0, :, :, 0] == 255
    assert drawn.shape == (1, side, side, 3)
    assert set(np.unique(drawn)) == {0, 255}
    assert not white[side // 4 + 3 : -side // 4 - 3, side // 4 + 3 : -side // 4 - 3].any()
    assert not white[: side // 4 - 3].any()
    assert 4 * (side // 2) * 0.9 < white.sum() < 4 * (side // 2) * 1.2


def test_edges_see_colours_of_the_same_brightness() -> None:
    """Red on green has an outline although a grey picture of it has none."""
    red, green = (200, 0, 0), (0, 102, 0)  # luma 59.8 and 59.9
    assert edges(_square(32, red, green)).any()


def test_flat_frames_have_no_edges() -> None:
    """Nothing to see gives a black frame, not noise."""
    assert not edges(np.full((3, 32, 32, 3), 90, dtype=np.uint8)).any()


def test_enlarged_pixel_art_is_outlined_as_at_its_own_size() -> None:
    """A 512-px upload of a 32-px clip guides as the clip itself does."""
    rng = np.random.default_rng(0)
    small = np.kron(rng.integers(0, 255, (2, 8, 8, 3), dtype=np.uint8), np.ones((1, 4, 4, 1), dtype=np.uint8))
    large = small.repeat(16, axis=1).repeat(16, axis=2)
    control, extract = Control(kind=ControlKind.EDGES), extractor_for(ControlKind.EDGES)
    assert np.array_equal(guiding_frames(large, control, 32, 32, extract), edges(small))


def test_guides_shrink_by_the_downscale_factor_before_they_are_drawn() -> None:
    """Lines stay one pixel wide and white at a factor of 2."""
    clip = _square(512, (250, 250, 250), (10, 10, 10))
    guide = guiding_frames(clip, Control(kind=ControlKind.EDGES, downscale=2), 512, 512, edges)
    assert guide.shape == (1, 256, 256, 3)
    assert set(np.unique(guide)) == {0, 255}


def test_given_guides_are_used_as_they_are() -> None:
    """A supplied control video is only fitted."""
    clip = _square(64, (1, 2, 3), (4, 5, 6))
    assert np.array_equal(guiding_frames(clip, Control(kind=ControlKind.VIDEO), 64, 64, extractor_for(ControlKind.VIDEO)), clip)
