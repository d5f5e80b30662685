"""The inhabitants of the tiny world: characters made of a body, boots, a hat and two eyes, as pixel art.

Everything here is drawn on a grid of logical pixels; one logical pixel is 2x2 px of a 32-px frame. A character fills
a box of 9 rows and 7 columns: three rows for the hat, six for the body, of which the last two are the boots. Any two
silhouettes differ in at least 12 of the body's 42 logical pixels and any two hats in at least 9, because a small denoiser
learns first what changes many pixels (`engine/LOG.md`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

BOX_ROWS: Final = 9
BOX_COLUMNS: Final = 7
_HAT_ROWS: Final = 3
_BOOT_ROWS: Final = 2
EYE_RGB: Final = (16, 14, 22)

COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (214, 34, 40),
    "orange": (250, 128, 8),
    "yellow": (254, 218, 36),
    "green": (24, 176, 52),
    "cyan": (44, 214, 226),
    "blue": (36, 66, 226),
    "purple": (136, 40, 190),
    "pink": (254, 128, 200),
    "white": (252, 252, 252),
    "brown": (122, 66, 22),
}

_BODIES: Final[dict[str, tuple[tuple[str, ...], int]]] = {  # silhouette, row of the eyes
    "ball": (("..###..", ".#####.", "#######", "#######", ".#####.", "..###.."), 2),
    "box": (("#######", "#######", "#######", "#######", "#######", "#######"), 2),
    "cone": (("...#...", "..###..", ".#####.", ".#####.", "#######", "#######"), 2),
    "mushroom": (("#######", "#######", "#######", "..###..", "..###..", "..###.."), 1),
    "robot": (("..###..", "..###..", "#######", "#######", "##...##", "##...##"), 2),
    "tower": (("..###..", "..###..", "..###..", "..###..", "..###..", "..###.."), 2),
}
_HATS: Final[dict[str, tuple[str, ...]]] = {
    "top hat": (".#####.", ".#####.", "#######"),
    "wizard hat": ("...#...", "..###..", "..###.."),
    "crown": (".......", "#..#..#", "#######"),
}
SHAPES: Final = tuple(_BODIES)
HATS: Final = tuple(_HATS)
COLOUR_NAMES: Final = tuple(COLOURS)
_EYE_COLUMNS: Final = (2, 4)


@dataclass(frozen=True)
class Character:
    """What a sprite looks like; `name` is set only for those of the roster and those held out for training sets."""

    shape: str
    body: str
    boots: str
    hat: str | None = None
    hat_colour: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class Parts:
    """Boolean masks [BOX_ROWS, BOX_COLUMNS] of a character's regions; they never overlap."""

    body: NDArray[np.bool_]
    boots: NDArray[np.bool_]
    hat: NDArray[np.bool_]
    eyes: NDArray[np.bool_]


def parts_of(shape: str, hat: str | None) -> Parts:
    """Masks of the four regions of a character with this silhouette and hat."""
    rows, eye_row = _BODIES[shape]
    silhouette = np.zeros((BOX_ROWS, BOX_COLUMNS), dtype=bool)
    silhouette[_HAT_ROWS:] = _mask(rows)
    boots = silhouette.copy()
    boots[:-_BOOT_ROWS] = False
    eyes = np.zeros_like(silhouette)
    eyes[_HAT_ROWS + eye_row, list(_EYE_COLUMNS)] = True
    hat_mask = np.zeros_like(silhouette)
    if hat is not None:
        hat_mask[:_HAT_ROWS] = _mask(_HATS[hat])
    return Parts(body=silhouette & ~boots & ~eyes, boots=boots, hat=hat_mask, eyes=eyes)


def draw(canvas: NDArray[np.uint8], character: Character, column: int, row: int) -> None:
    """Paint `character` with the top left of its box at (`row`, `column`); parts outside the canvas are cut off.

    canvas: [rows, columns, 3] uint8 logical pixels, changed in place.
    """
    parts = parts_of(character.shape, character.hat)
    layers = [(parts.body, COLOURS[character.body]), (parts.boots, COLOURS[character.boots]), (parts.eyes, EYE_RGB)]
    if character.hat_colour is not None:
        layers.append((parts.hat, COLOURS[character.hat_colour]))
    for mask, rgb in layers:
        rows, columns = np.nonzero(mask)
        rows, columns = rows + row, columns + column
        inside = (rows >= 0) & (rows < canvas.shape[0]) & (columns >= 0) & (columns < canvas.shape[1])
        canvas[rows[inside], columns[inside]] = rgb


def random_character(rng: np.random.Generator, name: str | None = None, plain: float = 0.4) -> Character:
    """Draw a character; with probability `plain` it has no hat, and independently boots of its body's colour."""
    body, hat_colour, boots = (COLOUR_NAMES[i] for i in rng.choice(len(COLOUR_NAMES), 3, replace=False))
    shape = SHAPES[rng.integers(len(SHAPES))]
    hat: str | None = HATS[rng.integers(len(HATS))]
    if rng.random() < plain:
        hat = None
    if rng.random() < plain:
        boots = body
    return Character(shape, body, boots, hat, hat_colour if hat else None, name)


def _mask(rows: tuple[str, ...]) -> NDArray[np.bool_]:
    return np.array([[cell == "#" for cell in row] for row in rows])
