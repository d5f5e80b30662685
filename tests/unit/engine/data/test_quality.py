"""`engine.data.quality`: what is told about weak items."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image, ImageFilter

from engine.contracts.media import MediaNote
from engine.data.quality import Look, look_at, notes_of


def photo(seed: int = 0, blur: float = 0.0) -> Image.Image:
    """A bright disc in front of a soft sky, with a little grain, as cameras make it."""
    rows, columns = np.mgrid[:512, :512]
    disc = (rows - 200 - 60 * seed) ** 2 + (columns - 256) ** 2 < 120**2
    scene = Image.fromarray((disc * 150 + 40 + columns / 10).clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(blur))
    grain = np.random.default_rng(seed).normal(0, 3, (512, 512))
    luma = (np.asarray(scene) + grain).clip(0, 255).astype(np.uint8)
    return Image.fromarray(np.stack([luma, luma // 2, luma], axis=2))


def notes(picture: Image.Image, *earlier: Image.Image, wanted_side: int | None = None) -> tuple[MediaNote, ...]:
    return notes_of(look_at(picture), [look_at(other) for other in earlier], min(picture.size), wanted_side)


def test_notes_are_empty_when_a_picture_is_fine() -> None:
    """A sharp, well-lit, large and new picture is not talked about."""
    assert notes(photo(), photo(1), wanted_side=256) == ()


@pytest.mark.parametrize(
    ("picture", "note"),
    [
        (photo(blur=20), MediaNote.BLURRY),
        (photo().point(lambda value: value // 20), MediaNote.DARK),
        (photo().point(lambda value: 255 - value // 20), MediaNote.BRIGHT),
        (Image.new("RGB", (256, 256), (120, 120, 120)), MediaNote.LOW_CONTRAST),
        (photo().resize((64, 64)), MediaNote.SMALL),
    ],
)
def test_notes_name_the_weakness_when_there_is_one(picture: Image.Image, note: MediaNote) -> None:
    """Each weakness has its note."""
    assert note in notes(picture, wanted_side=256)


def test_notes_find_a_near_duplicate_when_it_was_resaved_or_scaled() -> None:
    """The same picture in another size counts as the same; another picture does not."""
    assert MediaNote.NEAR_DUPLICATE in notes(photo().resize((128, 128), Image.Resampling.LANCZOS), photo(1), photo())
    assert MediaNote.NEAR_DUPLICATE not in notes(photo(2), photo(1), photo())


def test_look_crosses_a_process_border_when_written_as_json() -> None:
    """Plain values only, for pictures of any size down to one pixel."""
    for picture in (photo(), Image.new("RGB", (1, 1))):
        look = look_at(picture)
        assert Look(**json.loads(json.dumps(asdict(look)))) == look
