"""Literal captions of scenes, in several phrasings and with parts left out, as people write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from engine.tiny.sprites import Character
    from engine.tiny.styles import Style
    from engine.tiny.world import Scene

CLASS_WORDS: Final = ("character", "creature")  # what to call somebody whose looks are not told

PLACE_PHRASES: Final[dict[str, tuple[str, ...]]] = {
    "field": ("in a green field", "on a meadow"),
    "beach": ("on a beach", "on a sandy beach"),
    "desert": ("in a desert", "in the hot desert"),
    "snow": ("in the snow", "on a snowy hill"),
    "city": ("in a city at night", "in the dark city"),
    "forest": ("in a forest", "in the woods"),
    "cave": ("in a cave", "inside a dark cave"),
    "sea": ("under the sea", "in the deep sea"),
    "moon": ("on the moon", "in space on the moon"),
    "volcano": ("at a volcano", "near a volcano"),
    "kitchen": ("in a kitchen", "in a bright kitchen"),
    "castle": ("in a castle", "inside an old castle"),
}
MOTION_PHRASES: Final[dict[str, tuple[str, ...]]] = {
    "still": ("standing still", "standing", "waiting"),
    "left": ("walking left", "walking to the left", "moving left"),
    "right": ("walking right", "walking to the right", "moving right"),
    "fast left": ("running left", "running to the left"),
    "fast right": ("running right", "running to the right"),
    "up": ("floating up", "flying up", "moving up"),
    "down": ("falling down", "sinking down", "moving down"),
    "jump": ("jumping", "jumping up and down"),
}
HELD_OUT_PHRASES: Final[dict[str, str]] = {"orbit": "in orbit"}
"""What people call motions that pretraining never shows; the word is the trigger of a LoRA that learned one."""


def describe(scene: Scene, rng: np.random.Generator) -> str:
    """One sentence for `scene`. Names stand alone mostly; unnamed characters are mostly told in full."""
    who = _subject(scene.character, rng)
    motion = _pick(MOTION_PHRASES[scene.motion], rng)
    place = _pick(PLACE_PHRASES[scene.background], rng)
    if scene.num_frames == 1 and rng.random() < 0.4:
        motion = ""
    if rng.random() < 0.06:
        place = ""
    order = rng.random()
    if place and order < 0.12:
        parts = [f"{place},", who, motion]
    elif motion and order < 0.24:
        parts = [who, "is", motion, place]
    else:
        parts = [who, motion, place]
    text = " ".join(part for part in parts if part)
    return text + _look(scene.style, rng) if scene.style else text


def caption(who: str, motion: str, place: str, style: str | None = None) -> str:
    """The plainest phrasing, for prompts and training sets: "{who} walking left in a forest in dusk style"."""
    moving = HELD_OUT_PHRASES.get(motion) or MOTION_PHRASES[motion][0]
    text = f"{who} {moving} {PLACE_PHRASES[place][0]}"
    return f"{text} in {style} style" if style else text


def looks(character: Character) -> str:
    """A character's whole appearance: "a red robot with a blue crown and white boots"."""
    extras = []
    if character.hat:
        extras.append(f"a {character.hat_colour} {character.hat}")
    if character.boots != character.body:
        extras.append(f"{character.boots} boots")
    article = "an" if character.body[0] in "aeiou" else "a"
    text = f"{article} {character.body} {character.shape}"
    return f"{text} with {' and '.join(extras)}" if extras else text


def _subject(character: Character, rng: np.random.Generator) -> str:
    chance = rng.random()
    if character.name is not None:
        if chance < 0.8:
            return character.name
        return f"{character.name}, {looks(character)}," if chance < 0.95 else looks(character)
    if chance < 0.9:
        return looks(character)
    if chance < 0.96:
        return f"a {_pick(CLASS_WORDS, rng)}"
    return looks(character).replace(f" {character.shape}", f" {_pick(CLASS_WORDS, rng)}", 1)


def _look(style: Style, rng: np.random.Generator) -> str:
    """A named style by its name, mostly; others by their tones."""
    chance = rng.random()
    if style.name is None or chance < 0.1:
        return f" in {style.tones}" if rng.random() < 0.7 else f", {style.tones}"
    if chance < 0.2:
        return f" in {style.name} style, {style.tones}"
    return f" in {style.name} style" if chance < 0.8 else f", {style.name} style"


def _pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
