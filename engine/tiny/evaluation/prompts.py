"""What evaluation asks for: scenes whose captions are the prompts, so that the right answer is known."""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.tiny.architecture import NUM_FRAMES
from engine.tiny.captions import CLASS_WORDS, MOTION_PHRASES, PLACE_PHRASES, caption, looks
from engine.tiny.scenery import BACKGROUNDS
from engine.tiny.sets import NEW_BACKGROUNDS, guided_caption
from engine.tiny.sprites import SHAPES, Character, random_character
from engine.tiny.styles import Style
from engine.tiny.world import Scene, scene_with

PROMPTS: Final = 20
_MOTIONS: Final = ("left", "right", "up", "down", "jump")  # motions that no still of a training set shows


def base_scenes(count: int, seed: int) -> list[tuple[str, Scene]]:
    """Prompts that tell everything, with shapes, backgrounds and motions in turn."""
    rng = np.random.default_rng([11, seed])
    scenes = []
    for i in range(count):
        look = random_character(rng, plain=0.5)
        character = Character(SHAPES[i % len(SHAPES)], look.body, look.boots, look.hat, look.hat_colour)
        motion = ("left", "right", "up", "down", "still", "jump")[int(rng.integers(6))] if i % 2 else _MOTIONS[i // 2 % 4]
        scene = scene_with(rng, character, motion=motion, num_frames=NUM_FRAMES, backdrop=BACKGROUNDS[i % len(BACKGROUNDS)])
        scenes.append((caption(looks(character), motion, scene.background), scene))
    return scenes


def character_scenes(character: Character, style: Style | None = None, count: int = PROMPTS, seed: int = 0) -> list[tuple[str, Scene]]:
    """The character by its name, on backgrounds and in motions its training pictures do not show."""
    rng = np.random.default_rng([12, seed])
    scenes = []
    for i in range(count):
        motion, place = _MOTIONS[i % len(_MOTIONS)], NEW_BACKGROUNDS[i // len(_MOTIONS) % len(NEW_BACKGROUNDS)]
        scene = scene_with(rng, character, motion=motion, num_frames=NUM_FRAMES, backdrop=place, style=style)
        scenes.append((caption(character.name or looks(character), motion, place, style.name if style else None), scene))
    return scenes


def style_scenes(style: Style, count: int = PROMPTS, seed: int = 0) -> list[tuple[str, Scene]]:
    """Various characters told in full, in the style, on backgrounds its training pictures do not show."""
    rng = np.random.default_rng([13, seed])
    scenes = []
    for i in range(count):
        motion, place = _MOTIONS[i % len(_MOTIONS)], NEW_BACKGROUNDS[i // len(_MOTIONS) % len(NEW_BACKGROUNDS)]
        scene = scene_with(rng, random_character(rng), motion=motion, num_frames=NUM_FRAMES, backdrop=place, style=style)
        scenes.append((caption(looks(scene.character), motion, place, style.name), scene))
    return scenes


def ordinary_scenes(count: int = PROMPTS, seed: int = 0) -> list[tuple[str, Scene | None]]:
    """Prompts without any trigger: mostly told in full, every fourth about just "a creature" (then there is no right answer)."""
    scenes: list[tuple[str, Scene | None]] = list(base_scenes(count, seed + 100))
    rng = np.random.default_rng([14, seed])
    for i in range(3, count, 4):
        motion, place = _MOTIONS[int(rng.integers(len(_MOTIONS)))], BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
        scenes[i] = (f"a {CLASS_WORDS[i // 4 % 2]} {MOTION_PHRASES[motion][0]} {PLACE_PHRASES[place][0]}", None)
    return scenes


def motion_scenes(motion: str, count: int = PROMPTS, seed: int = 0) -> list[tuple[str, Scene]]:
    """Various characters told in full, in a held-out motion, on backgrounds its training clips do not show."""
    rng = np.random.default_rng([15, seed])
    scenes = []
    for i in range(count):
        place = NEW_BACKGROUNDS[i % len(NEW_BACKGROUNDS)]
        scene = scene_with(rng, random_character(rng), motion=motion, num_frames=NUM_FRAMES, backdrop=place)
        scenes.append((caption(looks(scene.character), motion, place), scene))
    return scenes


def guided_scenes(count: int = PROMPTS, seed: int = 0) -> list[tuple[str, Scene]]:
    """What a guide leaves open, colour and place, with the scene whose outlines guide."""
    rng = np.random.default_rng([16, seed])
    scenes = []
    for i in range(count):
        motion, place = _MOTIONS[i % len(_MOTIONS)], NEW_BACKGROUNDS[i // len(_MOTIONS) % len(NEW_BACKGROUNDS)]
        scene = scene_with(rng, random_character(rng), motion=motion, num_frames=NUM_FRAMES, backdrop=place)
        scenes.append((guided_caption(scene), scene))
    return scenes
