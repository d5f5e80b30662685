"""Sizes, windows and fitting."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.contracts.bases import LTX_2_3, TINY
from engine.data.buckets import (
    MAX_LENGTHS,
    MAX_WINDOWS,
    choose_lengths,
    fit,
    length_for,
    nearest_size,
    resampled_indices,
    sizes,
    window_starts,
)


def test_sizes_are_possible_and_no_larger_than_asked() -> None:
    """Every bucket has sides the base allows and at most the pixels that were planned and paid for."""
    found = sizes(512, 512, LTX_2_3.geometry)
    assert (512, 512) in found
    assert len(found) > 4
    assert all(width % 32 == 0 and height % 32 == 0 and width * height <= 512 * 512 for width, height in found)
    assert sizes(32, 32, TINY.geometry) == [(32, 32)]


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(1000, 1000, (512, 512)), (1920, 1080, (672, 384)), (1080, 1920, (384, 672)), (4000, 1000, (672, 384))],
)
def test_size_is_the_nearest_shape(width: int, height: int, expected: tuple[int, int]) -> None:
    """Nearest by log aspect ratio, so that wide and high are treated alike."""
    assert nearest_size(width, height, sizes(512, 512, LTX_2_3.geometry)) == expected


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        ([], ()),
        ([1, 8], ()),  # too short for one stride
        ([9], (9,)),
        ([120, 127, 130], (113,)),  # a second length of 121 frames would show hardly more
        ([121] * 9 + [9], (121, 9)),  # nobody is left out, and one short clip does not shorten all the others
        ([500], (121,)),
        ([16, 40, 80, 120, 120], (113, 73, 9)),
    ],
)
def test_lengths_suit_the_whole_set(available: list[int], expected: tuple[int, ...]) -> None:
    """Lengths are stride * k + 1, few, and leave out no shot that holds one stride."""
    lengths = choose_lengths(available, 121, 8)
    assert len(lengths) <= MAX_LENGTHS
    assert all((length - 1) % 8 == 0 for length in lengths)
    assert all(length_for(frames, lengths) > 1 for frames in available if frames > 8)
    assert lengths == expected


def test_shot_without_a_stride_is_a_still() -> None:
    """Nothing fits, so nothing moves."""
    assert length_for(8, (121, 9)) == 1


@given(available=st.integers(1, 5000), window=st.integers(1, 257))
def test_windows_lie_inside_and_apart(available: int, window: int) -> None:
    """Windows never leave the clip, never overlap, and are few."""
    starts = window_starts(available, min(window, available))
    assert 1 <= len(starts) <= MAX_WINDOWS
    assert starts[0] >= 0
    assert starts[-1] + min(window, available) <= available
    assert all(later - earlier >= min(window, available) for earlier, later in itertools.pairwise(starts))


def test_long_clip_is_covered_from_end_to_end() -> None:
    """The rest of a long clip is not wasted."""
    starts = window_starts(100, 20)
    assert (starts[0], starts[-1]) == (0, 80)


@pytest.mark.parametrize(
    ("num_frames", "fps", "target", "expected"),
    [
        (6, 8.0, 8.0, [0, 1, 2, 3, 4, 5]),
        (9, 24.0, 8.0, [0, 3, 6]),
        (3, 4.0, 8.0, [0, 0, 1, 1, 2, 2]),
        (5, 23.976, 24.0, [0, 0, 1, 2, 3]),
    ],
)
def test_resampling_shows_what_was_on_screen(num_frames: int, fps: float, target: float, expected: list[int]) -> None:
    """At each moment of the new rate, the frame that was shown then."""
    assert resampled_indices(num_frames, fps, target) == expected


def test_enlarged_pixel_art_comes_back_exactly() -> None:
    """Downscaling by a whole factor averages blocks, so nearest-neighbour enlargement is undone without loss."""
    small = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    large = Image.fromarray(small).resize((256, 256), Image.Resampling.NEAREST)
    assert np.array_equal(fit(large, 32, 32), small)


@pytest.mark.parametrize("size", [(640, 360), (33, 500), (20, 20), (32, 32)])
def test_fitted_picture_fills_its_bucket_undistorted(size: tuple[int, int]) -> None:
    """Cover and crop at the centre: a grey picture with a centred square keeps the square in the middle, no borders."""
    picture = Image.new("RGB", size, (90, 90, 90))
    fitted = fit(picture, 32, 32)
    assert fitted.shape == (32, 32, 3)
    assert (fitted == 90).all()
