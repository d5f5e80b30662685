"""An oracle for the tiny world: it sees pixels only and tells what is in them.

Every frame is explained by the picture that fits it best: all backgrounds at all phases, and all silhouettes with all
hats at all places, whose parts take the mean colour found under them. The best explanation's parts and places are the
answer, so there is nothing to train and nothing to tune; `validate` measures it on rendered ground truth.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.tiny.scenery import BACKGROUNDS, GRID, PHASES, background
from engine.tiny.sprites import BOX_COLUMNS, BOX_ROWS, COLOUR_NAMES, COLOURS, EYE_RGB, HATS, SHAPES, parts_of
from engine.tiny.styles import Style

Clip = NDArray[np.uint8]
_Array = NDArray[np.float64]

_ROWS_ABOVE: Final = 2  # rows a hat's box may stick out at the top
_CELLS: Final = GRID * GRID
_HAT_EVIDENCE: Final = 30.0**2  # squared RGB distance to the backdrop that each cell of a hat must explain: less is noise of the sampling


@dataclass(frozen=True)
class FrameReading:
    """What one frame shows; colours are means over the region, RGB in 0..255."""

    background: str
    shape: str
    hat: str | None
    column: int
    row: int
    body_rgb: tuple[float, float, float]
    boots_rgb: tuple[float, float, float]
    hat_rgb: tuple[float, float, float] | None


@dataclass(frozen=True)
class Reading:
    """What a clip shows: majority of the frames, and the motion from first to last place."""

    background: str
    shape: str
    body: str
    boots: str
    hat: str | None
    hat_colour: str | None
    direction: str  # left, right, up, down, still or jump
    frames: tuple[FrameReading, ...]


@dataclass(frozen=True)
class _Placements:
    """Every silhouette x hat x place that lies mostly inside: masks as float matrices [placements, cells]."""

    shape: tuple[str, ...]
    hat: tuple[str | None, ...]
    column: NDArray[np.int64]
    row: NDArray[np.int64]
    body: _Array
    boots: _Array
    hats: _Array
    eyes: _Array


def read(clip: Clip, style: Style | None = None) -> Reading:
    """Explain a clip [F, 32, 32, 3] or [F, 16, 16, 3] uint8; `style` says through which look the world is seen."""
    logical = to_logical(clip)
    shown = [logical[i] for i in _distinct_frames(len(logical))]
    backdrops = _backdrops(style)
    errors = sum(_background_error(frame, backdrops) for frame in shown)
    best = int(np.argmin(errors))
    frames = tuple(_read_frame(frame, backdrops[best], BACKGROUNDS[best // PHASES], style) for frame in shown)
    colours = _colour_table(style)
    hat = _majority([frame.hat for frame in frames])
    hat_rgbs = [frame.hat_rgb for frame in frames if frame.hat == hat and frame.hat_rgb is not None]
    return Reading(
        background=BACKGROUNDS[best // PHASES],
        shape=_majority([frame.shape for frame in frames]) or SHAPES[0],
        body=nearest_colour(np.mean([frame.body_rgb for frame in frames], axis=0), colours),
        boots=nearest_colour(np.mean([frame.boots_rgb for frame in frames], axis=0), colours),
        hat=hat,
        hat_colour=nearest_colour(np.mean(hat_rgbs, axis=0), colours) if hat_rgbs else None,
        direction=_direction([(frame.column, frame.row) for frame in frames]),
        frames=frames,
    )


def silhouette(frame: FrameReading) -> NDArray[np.bool_]:
    """The cells the figure of a frame covers, [GRID * GRID]."""
    parts = parts_of(frame.shape, frame.hat)
    whole = parts.body | parts.boots | parts.hat | parts.eyes
    return _placed(whole, frame.column, frame.row) > 0.0


def to_logical(clip: Clip) -> _Array:
    """Mean of every logical pixel, [F, GRID, GRID, 3] in 0..255."""
    factor = clip.shape[1] // GRID
    means: _Array = clip.reshape(len(clip), GRID, factor, GRID, factor, 3).mean(axis=(2, 4))
    return means


def nearest_colour(rgb: _Array, table: dict[str, _Array]) -> str:
    """Name of the closest colour of `table`."""
    return min(table, key=lambda name: float(np.square(table[name] - rgb).sum()))


def _distinct_frames(count: int) -> list[int]:
    """One frame of every pair that shows the same picture (the world is animated on twos)."""
    return [0, *range(2, count, 2)]


@cache
def _backdrops(style: Style | None) -> _Array:
    """All backgrounds at all phases, [kinds * PHASES, GRID, GRID, 3]."""
    pictures = np.stack([background(kind, phase) for kind in BACKGROUNDS for phase in range(PHASES)])
    return (style.apply(pictures) if style else pictures).astype(np.float64)


@cache
def _colour_table(style: Style | None) -> dict[str, _Array]:
    return {name: seen_colour(COLOURS[name], style) for name in COLOUR_NAMES}


def seen_colour(rgb: tuple[int, int, int], style: Style | None) -> _Array:
    """A colour as seen through a style."""
    swatch = np.array(rgb, dtype=np.uint8)
    return (style.apply(swatch) if style else swatch).astype(np.float64)


def _background_error(frame: _Array, backdrops: _Array) -> _Array:
    """How badly each backdrop fits, robust against the part a character hides: differences count up to a limit."""
    difference = np.abs(backdrops - frame).sum(axis=-1)
    totals: _Array = np.minimum(difference, 120.0).sum(axis=(1, 2))
    return totals


@cache
def _placements() -> _Placements:
    shapes: list[str] = []
    hats: list[str | None] = []
    columns: list[int] = []
    rows: list[int] = []
    masks: dict[str, list[_Array]] = {"body": [], "boots": [], "hat": [], "eyes": []}
    for shape in SHAPES:
        for hat in (None, *HATS):
            parts = parts_of(shape, hat)
            for row in range(-_ROWS_ABOVE - (2 if hat is None else 0), GRID - BOX_ROWS + 2):
                for column in range(-2, GRID - BOX_COLUMNS + 3):
                    shapes.append(shape)
                    hats.append(hat)
                    columns.append(column)
                    rows.append(row)
                    for name, stack in masks.items():
                        stack.append(_placed(getattr(parts, name), column, row))
    return _Placements(
        tuple(shapes), tuple(hats), np.array(columns), np.array(rows),
        np.stack(masks["body"]), np.stack(masks["boots"]), np.stack(masks["hat"]), np.stack(masks["eyes"]),
    )  # fmt: skip


def _placed(mask: NDArray[np.bool_], column: int, row: int) -> _Array:
    canvas = np.zeros((GRID, GRID))
    rows, columns = np.nonzero(mask)
    rows, columns = rows + row, columns + column
    inside = (rows >= 0) & (rows < GRID) & (columns >= 0) & (columns < GRID)
    canvas[rows[inside], columns[inside]] = 1.0
    return canvas.reshape(-1)


def _read_frame(frame: _Array, backdrop: _Array, kind: str, style: Style | None) -> FrameReading:
    """The placement whose parts, each in its own mean colour, explain the frame with the least squared error."""
    places = _placements()
    pixels, behind = frame.reshape(_CELLS, 3), backdrop.reshape(_CELLS, 3)
    eye = seen_colour(EYE_RGB, style)
    squares = np.square(pixels).sum(axis=1)
    gain = np.square(pixels - behind).sum(axis=1)  # error of each cell if it is background
    error = np.zeros(len(places.shape))
    for region in (places.body, places.boots, places.hats):
        count = np.maximum(region.sum(axis=1), 1.0)
        sums = region @ pixels
        error += region @ squares - np.square(sums).sum(axis=1) / count
    error += _HAT_EVIDENCE * places.hats.sum(axis=1)
    error += places.eyes @ np.square(pixels - eye).sum(axis=1)
    covered = places.body + places.boots + places.hats + places.eyes
    best = int(np.argmin(error - covered @ gain))
    hat = places.hat[best]
    return FrameReading(
        background=kind,
        shape=places.shape[best],
        hat=hat,
        column=int(places.column[best]),
        row=int(places.row[best]),
        body_rgb=_mean(pixels, places.body[best]),
        boots_rgb=_mean(pixels, places.boots[best]),
        hat_rgb=_mean(pixels, places.hats[best]) if hat is not None else None,
    )


def _mean(pixels: _Array, region: _Array) -> tuple[float, float, float]:
    red, green, blue = (region @ pixels) / max(float(region.sum()), 1.0)
    return float(red), float(green), float(blue)


def _direction(places: list[tuple[int, int]]) -> str:
    columns, rows = np.array(places).T
    across, along = int(columns[-1] - columns[0]), int(rows[-1] - rows[0])
    if max(abs(across), abs(along)) >= 2:
        if abs(across) >= abs(along):
            return "right" if across > 0 else "left"
        return "down" if along > 0 else "up"
    return "jump" if rows.max() - rows.min() >= 2 else "still"


def _majority(values: list[str] | list[str | None]) -> str | None:
    return Counter(values).most_common(1)[0][0]
