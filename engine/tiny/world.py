"""A procedural world of captioned pixel-art clips, deterministic by seed; the data the tiny base is pretrained on.

A clip shows one character moving before one background, perhaps in a style. It is animated on twos: positions
change at frames 1, 3, 5, ... so that a 4-frame group of the VAE holds two different pictures. Frames are 32x32 px and
consist of 2x2-px logical pixels.

`python -m engine.tiny.world render --character zoko --count 24 --out DIR` writes a training set as a user would
bring it: PNG (or MP4) files with a `.txt` caption beside each.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.contracts.lora import LoraKind
from engine.tiny.captions import describe
from engine.tiny.scenery import BACKGROUNDS, GRID, PHASES, background
from engine.tiny.sprites import BOX_COLUMNS, BOX_ROWS, Character, draw, random_character
from engine.tiny.styles import HELD_OUT_STYLES, STYLES, Style, random_style

PIXELS_PER_LOGICAL: Final = 2

STRIDE: Final = 2
"""Characters stand on and move by multiples of this many logical pixels: half a VAE patch, so that each of their shapes has
4 instead of 16 positions within a patch to be learned."""

_LAST_COLUMN: Final = (GRID - BOX_COLUMNS) // STRIDE * STRIDE
_LAST_ROW: Final = (GRID - BOX_ROWS) // STRIDE * STRIDE

# Motion: offset (columns, rows) per position change, or the list of row offsets of one cycle.
_STEPS: Final[dict[str, tuple[int, int]]] = {
    "still": (0, 0),
    "left": (-STRIDE, 0),
    "right": (STRIDE, 0),
    "fast left": (-2 * STRIDE, 0),
    "fast right": (2 * STRIDE, 0),
    "up": (0, -STRIDE),
    "down": (0, STRIDE),
}
_JUMP_ROWS: Final = (0, -STRIDE, -2 * STRIDE, -STRIDE)
MOTIONS: Final = (*_STEPS, "jump")

HELD_OUT_MOTIONS: Final[dict[str, tuple[tuple[int, int], ...]]] = {
    "orbit": ((0, 0), (2 * STRIDE, 0), (2 * STRIDE, -2 * STRIDE), (0, -2 * STRIDE)),
}
"""Motions that pretraining never sees: the offsets (columns, rows) of one cycle, one per position change."""

HELD_OUT_CHARACTERS: Final[dict[str, Character]] = {
    character.name: character
    for character in (
        Character("robot", "purple", "white", "wizard hat", "yellow", "zoko"),
        Character("mushroom", "cyan", "brown", "crown", "red", "mivu"),
        Character("ball", "green", "orange", "top hat", "pink", "tarbo"),
    )
    if character.name is not None
}
"""Characters that pretraining never sees, neither the name nor this combination."""

_ROSTER_SIZE: Final = 150
_SYLLABLES: Final = tuple(c + v for c in "bdfgklmnprstvz" for v in "aeiou")


def _build_roster() -> tuple[Character, ...]:
    rng = np.random.default_rng(7)
    looks = {replace(character, name=None) for character in HELD_OUT_CHARACTERS.values()}
    names = set(HELD_OUT_CHARACTERS)
    roster: list[Character] = []
    while len(roster) < _ROSTER_SIZE:
        name = "".join(_SYLLABLES[i] for i in rng.integers(len(_SYLLABLES), size=rng.integers(2, 4)))
        look = random_character(rng, plain=0.15)
        if name in names or look in looks:
            continue
        names.add(name)
        looks.add(look)
        roster.append(replace(look, name=name))
    return tuple(roster)


ROSTER: Final = _build_roster()
"""Named characters of the pretraining world: they teach that an unknown word can mean an appearance."""


@dataclass(frozen=True)
class Scene:
    """Everything that decides a clip's pixels. `column`, `row`: top left of the character's box at the first frame."""

    character: Character
    background: str
    phase: int
    motion: str
    column: int
    row: int
    num_frames: int = 9
    style: Style | None = None


def positions(scene: Scene) -> tuple[tuple[int, int], ...]:
    """(column, row) of the character's box at every frame."""
    return tuple(_position(scene, (frame + 1) // 2) for frame in range(scene.num_frames))


def _position(scene: Scene, change: int) -> tuple[int, int]:
    if scene.motion == "jump":
        return scene.column, scene.row + _JUMP_ROWS[change % len(_JUMP_ROWS)]
    if scene.motion in HELD_OUT_MOTIONS:
        cycle = HELD_OUT_MOTIONS[scene.motion]
        columns, rows = cycle[change % len(cycle)]
        return scene.column + columns, scene.row + rows
    columns, rows = _STEPS[scene.motion]
    # whoever reaches the edge of the picture stays there
    return _within(scene.column + columns * change, _LAST_COLUMN), _within(scene.row + rows * change, _LAST_ROW)


def _within(place: int, last: int) -> int:
    return min(max(place, 0), last)


def render_logical(scene: Scene) -> NDArray[np.uint8]:
    """Paint a scene on the logical grid: [num_frames, GRID, GRID, 3] uint8."""
    picture = background(scene.background, scene.phase)
    clip = np.repeat(picture[None], scene.num_frames, axis=0)
    for frame, (column, row) in zip(clip, positions(scene), strict=True):
        draw(frame, scene.character, column, row)
    return scene.style.apply(clip) if scene.style else clip


def render(scene: Scene, scale: int = PIXELS_PER_LOGICAL) -> NDArray[np.uint8]:
    """Paint a scene in pixels: [num_frames, GRID * scale, GRID * scale, 3] uint8."""
    return render_logical(scene).repeat(scale, axis=1).repeat(scale, axis=2)


def place(rng: np.random.Generator, motion: str, num_frames: int) -> tuple[int, int]:
    """Draw a start (column, row) that leaves `motion` room to be seen."""
    if motion in HELD_OUT_MOTIONS:
        reach = max(columns for columns, _ in HELD_OUT_MOTIONS[motion])
        return int(rng.integers(0, (_LAST_COLUMN - reach) // STRIDE + 1)) * STRIDE, _LAST_ROW
    across, along = _STEPS.get(motion, (0, 0))
    travel = min(abs(across) * (num_frames // 2), _LAST_COLUMN)
    column = int(rng.integers(0, (_LAST_COLUMN - travel) // STRIDE + 1)) * STRIDE
    if across < 0:
        column += travel
    if along or motion == "jump":
        return column, 0 if along > 0 else _LAST_ROW
    return column, _LAST_ROW - STRIDE * int(rng.integers(2))


def random_scene(rng: np.random.Generator, num_frames: int, named: float = 0.2, styled: float = 0.4) -> Scene:
    """Draw a scene of the pretraining world; shares of roster characters and of styled clips as given.

    Half of the styles have a name to be learned by heart; the others are drawn, and told by their tones.
    """
    character = ROSTER[rng.integers(len(ROSTER))] if rng.random() < named else random_character(rng)
    motion = "still" if num_frames == 1 else MOTIONS[rng.integers(len(MOTIONS))]
    style = _draw_style(rng) if rng.random() < styled else None
    return scene_with(rng, character, motion=motion, num_frames=num_frames, style=style)


def _draw_style(rng: np.random.Generator) -> Style:
    return tuple(STYLES.values())[rng.integers(len(STYLES))] if rng.random() < 0.5 else random_style(rng)


def scene_with(
    rng: np.random.Generator,
    character: Character,
    *,
    motion: str,
    num_frames: int,
    backdrop: str | None = None,
    style: Style | None = None,
) -> Scene:
    """A scene of this character and motion; place, decoration and (unless given) background are drawn."""
    kind = backdrop or BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
    column, row = place(rng, motion, num_frames)
    return Scene(character, kind, int(rng.integers(PHASES)), motion, column, row, num_frames, style)


def random_clip(rng: np.random.Generator, num_frames: int) -> tuple[NDArray[np.uint8], str]:
    """A captioned clip of the pretraining world: ([num_frames, 32, 32, 3] uint8, caption)."""
    scene = random_scene(rng, num_frames)
    return render(scene), describe(scene, rng)


def main(arguments: list[str] | None = None) -> None:
    """`render`: write a training set of a held-out character, style or motion, or of clips to be guided by their edges."""
    from engine.tiny.sets import write_by_name

    parser = argparse.ArgumentParser(prog="python -m engine.tiny.world", description=main.__doc__)
    render_parser = parser.add_subparsers(required=True).add_parser("render", help=main.__doc__)
    subject = render_parser.add_mutually_exclusive_group(required=True)
    subject.add_argument("--character", choices=sorted(HELD_OUT_CHARACTERS))
    subject.add_argument("--style", choices=sorted(HELD_OUT_STYLES))
    subject.add_argument("--motion", choices=sorted(HELD_OUT_MOTIONS), help="clips, whatever --format says")
    subject.add_argument("--edges", action="store_true", help="clips of anything, whatever --format says")
    render_parser.add_argument("--count", type=int, default=24)
    render_parser.add_argument("--out", type=Path, required=True)
    render_parser.add_argument("--size", type=int, default=256, help="pixels per side, a multiple of 16")
    render_parser.add_argument("--format", choices=("png", "mp4"), default="png")
    render_parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    subjects = {
        LoraKind.CHARACTER: chosen.character,
        LoraKind.STYLE: chosen.style,
        LoraKind.MOTION: chosen.motion,
        LoraKind.EFFECT: "edges" if chosen.edges else None,
    }
    kind, name = next((kind, name) for kind, name in subjects.items() if name is not None)
    moves = kind in (LoraKind.MOTION, LoraKind.EFFECT)
    files = write_by_name(
        name, kind, count=chosen.count, out=chosen.out, size=chosen.size, media="mp4" if moves else chosen.format, seed=chosen.seed
    )
    sys.stdout.write(f"{len(files)} files with captions in {chosen.out}\n")


if __name__ == "__main__":
    main()
