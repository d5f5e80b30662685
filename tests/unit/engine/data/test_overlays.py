"""Bars and burnt-in letters: found where they are, not where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from engine.data.overlays import has_borders, has_text
from engine.tiny.sets import character_set
from engine.tiny.world import render


def _scene(seed: int = 0, width: int = 512, height: int = 384) -> Image.Image:
    """Soft shapes and a little grain, as cameras make them."""
    rng = np.random.default_rng(seed)
    rough = Image.fromarray(rng.integers(30, 220, (6, 8, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    noisy = np.asarray(rough, dtype=np.float32) + rng.normal(0, 4, (height, width, 1))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("ground", ["black", "white"])
@pytest.mark.parametrize("upright", [True, False])
def test_bars_are_found_on_both_pairs_of_sides(ground: str, upright: bool) -> None:
    """Letterbox and pillar box, dark or light."""
    framed = Image.new("RGB", (512, 512), ground)
    framed.paste(_scene(width=512, height=384) if upright else _scene(width=384, height=512), (0, 64) if upright else (64, 0))
    assert has_borders(framed)


@pytest.mark.parametrize("seed", range(5))
def test_plain_scenes_have_neither(seed: int) -> None:
    """Nothing is cried over a picture that fills its frame."""
    assert not has_borders(_scene(seed))
    assert not has_text(_scene(seed))


@pytest.mark.parametrize(("words", "ink"), [("THIS IS A SUBTITLE LINE", "white"), ("stock-photo.example", "black")])
@pytest.mark.parametrize("size", [18, 30])
def test_burnt_in_lines_are_found(words: str, ink: str, size: int) -> None:
    """Subtitles and watermarks, light or dark."""
    picture = _scene()
    ImageDraw.Draw(picture).text((60, 320), words, ink, ImageFont.load_default(size))
    assert has_text(picture)


def test_pixel_art_is_neither_framed_nor_lettered() -> None:
    """The training sets of the tiny world are talked about for nothing they are not."""
    for scene, _ in character_set("zoko", 24):
        picture = Image.fromarray(render(scene, scale=16)[0])
        assert not has_borders(picture)
        assert not has_text(picture)
