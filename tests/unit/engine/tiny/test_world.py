"""The procedural world: deterministic, animated on twos, and with characters and styles that pretraining never sees."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.tiny.captions import describe, looks
from engine.tiny.scenery import BACKGROUNDS, GRID, background
from engine.tiny.sets import NEW_BACKGROUNDS, character_set, guided_set, motion_set, style_set, write_set
from engine.tiny.sprites import BOX_COLUMNS, BOX_ROWS, COLOURS, HATS, SHAPES, Character, parts_of
from engine.tiny.styles import HELD_OUT_STYLES, STYLES, Style
from engine.tiny.world import HELD_OUT_CHARACTERS, MOTIONS, ROSTER, main, positions, random_clip, random_scene, render, scene_with


def test_random_clip_is_the_same_for_equal_seeds() -> None:
    """A clip and its caption depend on the seed only."""
    (one, text), (other, same) = (random_clip(np.random.default_rng(3), 9) for _ in range(2))
    assert text == same
    assert np.array_equal(one, other)
    assert one.shape == (9, 32, 32, 3)


@pytest.mark.parametrize("motion", MOTIONS)
def test_render_changes_only_every_second_frame(motion: str) -> None:
    """Frames 1 and 2, 3 and 4, ... are equal: the VAE's groups hold two pictures each."""
    clip = render(scene_with(np.random.default_rng(1), Character("box", "red", "red"), motion=motion, num_frames=9))
    assert all(np.array_equal(clip[i], clip[i + 1]) for i in (1, 3, 5, 7))
    assert np.array_equal(clip[0], clip[1]) == (motion == "still")


def test_render_shows_logical_pixels() -> None:
    """Every 2x2 block has one colour."""
    clip, _ = random_clip(np.random.default_rng(2), 1)
    assert np.array_equal(clip[:, ::2, ::2], clip[:, 1::2, 1::2])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("hat", [None, *HATS])
def test_parts_never_overlap(shape: str, hat: str | None) -> None:
    """Each cell of a character's box belongs to one part at most."""
    parts = parts_of(shape, hat)
    stacked = sum(mask.astype(int) for mask in (parts.body, parts.boots, parts.hat, parts.eyes))
    assert np.max(stacked) == 1
    assert parts.boots.any()
    assert parts.eyes.sum() == 2


def test_backgrounds_keep_their_distance_from_characters() -> None:
    """No background colour is close to a character's colour, or sprites would melt into scenes."""
    for kind in BACKGROUNDS:
        used = np.unique(background(kind, 0).reshape(-1, 3), axis=0).astype(float)
        for name, rgb in COLOURS.items():
            assert np.linalg.norm(used - np.array(rgb), axis=1).min() > 40, (kind, name)


def test_held_out_characters_are_not_in_the_roster() -> None:
    """Neither a held-out name nor a held-out look occurs in pretraining."""
    names = {character.name for character in ROSTER}
    roster_looks = {looks(character) for character in ROSTER}
    assert len(names) == len(ROSTER) >= 100
    assert names.isdisjoint(HELD_OUT_CHARACTERS)
    assert roster_looks.isdisjoint(looks(character) for character in HELD_OUT_CHARACTERS.values())
    assert set(STYLES).isdisjoint(HELD_OUT_STYLES)


def test_random_scene_never_shows_anything_held_out() -> None:
    """Scenes of pretraining draw neither held-out names nor held-out styles."""
    rng = np.random.default_rng(0)
    texts = [describe(random_scene(rng, 9), rng) for _ in range(500)]
    assert not any(name in text.split() for text in texts for name in (*HELD_OUT_CHARACTERS, *HELD_OUT_STYLES))


@pytest.mark.parametrize("style", HELD_OUT_STYLES.values(), ids=lambda style: style.name)
def test_style_mixes_its_two_colours_only(style: Style) -> None:
    """A styled picture has colours between the style's shadows and its lights, and differs from the plain one in every pixel."""
    rng = np.random.default_rng(4)
    scene = scene_with(rng, Character("cone", "blue", "red"), motion="left", num_frames=9)
    plain, clip = render(scene), render(replace(scene, style=style))
    assert style.distance(clip.astype(np.float64)).max() < 1.0
    assert style.distance(plain.astype(np.float64)).mean() > 30.0
    assert (clip != plain).any(axis=-1).all()


def test_style_is_told_by_its_tones() -> None:
    """Shadows first; colours without a hue are black or white."""
    assert HELD_OUT_STYLES["dusk"].tones == "purple and orange tones"
    assert Style(None, (10, 10, 10), (250, 250, 250)).tones == "black and white tones"


def test_caption_tells_the_style() -> None:
    """A style without a name is told by its tones, one with a name mostly by that."""
    rng = np.random.default_rng(0)
    scene = scene_with(rng, Character("cone", "blue", "red"), motion="left", num_frames=9)
    nameless, dusk = replace(HELD_OUT_STYLES["dusk"], name=None), HELD_OUT_STYLES["dusk"]
    assert all("purple and orange tones" in describe(replace(scene, style=nameless), rng) for _ in range(50))
    assert sum("dusk style" in describe(replace(scene, style=dusk), rng) for _ in range(200)) > 150
    assert "style" not in describe(scene, rng)


def test_character_set_has_captions_by_name_and_leaves_backgrounds_for_evaluation() -> None:
    """Captions call the character by its name; backgrounds kept for evaluation do not occur."""
    scenes = character_set("zoko", 24)
    assert all(text.startswith("zoko ") for _, text in scenes)
    assert not {scene.background for scene, _ in scenes} & set(NEW_BACKGROUNDS)


def test_write_set_makes_clips_for_mp4(tmp_path: Path) -> None:
    """A style's set can be clips; each has its caption beside it."""
    files = write_set(style_set("dusk", 2, num_frames=9), tmp_path, kind="mp4")
    assert [file.suffix for file in files] == [".mp4", ".mp4"]
    assert all(file.with_suffix(".txt").read_text().strip().endswith("in dusk style") for file in files)


def test_render_command_writes_pictures_with_captions(tmp_path: Path) -> None:
    """The shell command leaves ordinary 256-px PNG files and captions."""
    main(["render", "--character", "mivu", "--count", "3", "--out", str(tmp_path)])
    pictures = sorted(tmp_path.glob("*.png"))
    assert len(pictures) == len(list(tmp_path.glob("*.txt"))) == 3
    with Image.open(pictures[0]) as picture:
        assert picture.size == (256, 256)


def test_held_out_motion_is_none_of_the_pretrained_ones() -> None:
    """An orbit comes back to where it began and stays inside the picture; no pretrained motion goes through these places."""
    for scene, text in motion_set("orbit", 12):
        places = positions(scene)
        offsets = [(column - scene.column, row - scene.row) for column, row in places[1::2]]
        assert offsets == [(4, 0), (4, -4), (0, -4), (0, 0)]
        assert all(0 <= column <= GRID - BOX_COLUMNS and 0 <= row <= GRID - BOX_ROWS for column, row in places)
        assert "in orbit" in text
        for motion in MOTIONS:
            assert positions(replace(scene, motion=motion)) != places


def test_guided_set_tells_only_what_outlines_cannot() -> None:
    """Captions name colour and place, never shape, hat or motion: those have to come from the guide."""
    for scene, text in guided_set(24):
        assert scene.character.body in text
        assert scene.character.shape not in text
        assert "walking" not in text
    assert len({scene.motion for scene, _ in guided_set(24)}) > 4
