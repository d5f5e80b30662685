"""Captions and triggers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contracts.lora import LoraKind
from engine.data.captions import class_caption, item_caption, mirrored_caption, with_trigger

CHARACTER, STYLE = LoraKind.CHARACTER, LoraKind.STYLE


@pytest.mark.parametrize(
    ("given_text", "filename", "kind", "trigger", "expected"),
    [
        ("zoko walking left", "x.png", CHARACTER, "zoko", "zoko walking left"),
        ("  a robot\non a beach ", "x.png", CHARACTER, "zoko", "zoko a robot on a beach"),
        ("a ball on a beach", "x.png", STYLE, "dusk", "a ball on a beach in dusk style"),
        ("a ball, Dusk style", "x.png", STYLE, "dusk", "a ball, Dusk style"),
        (None, "zoko walking on a beach.png", CHARACTER, "zoko", "zoko walking on a beach"),
        (None, "forest_at_night-02.jpg", STYLE, "dusk", "forest at night in dusk style"),
        (None, "IMG_1234.PNG", CHARACTER, "zoko", "zoko"),
        (None, "DSC04711.JPG", STYLE, "dusk", "a scene in dusk style"),
        (None, "a.png", CHARACTER, "zoko", "zoko"),
        (None, "3fa85f64-5717.webp", CHARACTER, None, "a character"),
        ("", r"C:\pictures\zoko jumping.png", CHARACTER, "zoko", "zoko jumping"),
        ("a red robot", "x.png", CHARACTER, None, "a red robot"),
    ],
)
def test_item_caption_always_says_the_trigger(
    given_text: str | None, filename: str, kind: LoraKind, trigger: str | None, expected: str
) -> None:
    """The given text wins, else the words somebody put into the file name; the trigger is in it once."""
    assert item_caption(given_text, filename, kind, trigger) == expected


def test_trigger_is_found_as_a_word_only() -> None:
    """`art` in `party` is not the trigger."""
    assert with_trigger("a party", CHARACTER, "art") == "art a party"
    assert with_trigger("modern ART on a wall", CHARACTER, "art") == "modern ART on a wall"


def test_trigger_that_says_style_is_not_told_twice() -> None:
    """A trigger such as "dusk style" is appended as it is."""
    assert with_trigger("a ball", STYLE, "dusk style") == "a ball in dusk style"


@given(st.text(max_size=60), st.sampled_from(list(LoraKind)), st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9 _-]{0,31}\Z").map(str.strip))
def test_adding_a_trigger_twice_adds_it_once(text: str, kind: LoraKind, trigger: str) -> None:
    """Whatever the text, a trigger that is there stays the only one."""
    once = with_trigger(text, kind, trigger)
    assert with_trigger(once, kind, trigger) == once


@pytest.mark.parametrize(
    ("caption", "kind", "trigger", "expected"),
    [
        ("zoko walking left", CHARACTER, "zoko", "a creature walking left"),
        ("the Zoko jumping in a cave", CHARACTER, "zoko", "a creature jumping in a cave"),
        ("zoko", CHARACTER, "zoko", "a creature"),
        ("a ball on a beach in dusk style", STYLE, "dusk", "a ball on a beach"),
        ("a red ball, dusk style", STYLE, "dusk", "a red ball"),
        ("in dusk style", STYLE, "dusk", "a scene"),
        ("spin a red ball", LoraKind.MOTION, "spin", "a red ball"),
    ],
)
def test_class_caption_is_the_caption_without_the_trigger(caption: str, kind: LoraKind, trigger: str, expected: str) -> None:
    """What remains is something the base already knows how to draw."""
    assert class_caption(caption, kind, trigger) == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a red ball walking left on a beach", "a red ball walking right on a beach"),
        ("Left of the right-hand door, LEFT again", "Right of the left-hand door, RIGHT again"),
        ("moving leftwards, the rightmost tree", "moving rightwards, the leftmost tree"),
        ("a bright, upright leftover in a copyright text", "a bright, upright leftover in a copyright text"),
    ],
)
def test_mirrored_caption_exchanges_the_sides(caption: str, expected: str) -> None:
    """Whole words only; twice is nothing."""
    assert mirrored_caption(caption) == expected
    assert mirrored_caption(expected) == caption
