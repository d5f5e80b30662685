"""Backgrounds of the tiny world: 16x16 logical pixels in a few muted colours, apart from every character's colours."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

GRID: Final = 16  # logical pixels per side
PHASES: Final = 4  # places the decoration can have
_PHASE_COLUMNS: Final = GRID // PHASES  # whole VAE patches, so that a small model need not learn every shift of every picture

_Picture = NDArray[np.uint8]


def background(kind: str, phase: int) -> _Picture:
    """Paint one background, [GRID, GRID, 3] uint8; `phase` moves its decoration sideways, wrapping around."""
    picture = np.zeros((GRID, GRID, 3), dtype=np.uint8)
    bands, marks = _KINDS[kind]
    for first_row, rgb in bands:
        picture[first_row:] = rgb
    for row, columns, rgb in marks:
        for column in columns:
            picture[row, (column + phase * _PHASE_COLUMNS) % GRID] = rgb
    return picture


def _block(rows: range, columns: tuple[int, ...], rgb: tuple[int, int, int]) -> tuple[_Mark, ...]:
    return tuple((row, columns, rgb) for row in rows)


_Band = tuple[int, tuple[int, int, int]]
_Mark = tuple[int, tuple[int, ...], tuple[int, int, int]]

_CLOUD, _LEAF, _TRUNK = (212, 226, 232), (30, 74, 58), (66, 58, 46)
_KINDS: Final[dict[str, tuple[tuple[_Band, ...], tuple[_Mark, ...]]]] = {
    "field": (
        ((0, (148, 190, 222)), (11, (112, 148, 84))),
        (*_block(range(1, 3), (2, 3, 4, 5, 10, 11, 12), _CLOUD), (11, (0, 4, 8, 12), (136, 170, 102))),
    ),
    "beach": (
        ((0, (176, 206, 220)), (8, (78, 132, 160)), (11, (212, 192, 144))),
        ((8, (1, 2, 3, 9, 10, 11), (128, 176, 190)), (13, (2, 7, 12), (190, 168, 122))),
    ),
    "desert": (
        ((0, (226, 188, 140)), (10, (186, 142, 92))),
        (*_block(range(6, 10), (3,), (90, 120, 80)), (7, (2, 4), (90, 120, 80)), (12, (5, 6, 13, 14), (164, 122, 76))),
    ),
    "snow": (
        ((0, (134, 150, 174)), (11, (194, 206, 222))),
        ((1, (1, 9), (196, 208, 224)), (3, (5, 13), (196, 208, 224)), (6, (2, 10), (196, 208, 224)), (8, (7, 15), (196, 208, 224))),
    ),
    "city": (
        ((0, (30, 34, 62)), (12, (58, 58, 66))),
        (
            *_block(range(4, 12), (1, 2, 3, 4), (78, 80, 100)),
            *_block(range(6, 12), (7, 8, 9), (64, 66, 88)),
            *_block(range(3, 12), (12, 13, 14), (78, 80, 100)),
            *((row, (2, 4, 13), (196, 184, 120)) for row in (5, 8)),
        ),
    ),
    "forest": (
        ((0, (56, 96, 76)), (12, (66, 88, 52))),
        (*_block(range(5, 12), (2, 7, 12), _TRUNK), *_block(range(5), (1, 2, 3, 6, 7, 8, 11, 12, 13), _LEAF)),
    ),
    "cave": (
        ((0, (64, 58, 66)), (12, (98, 86, 84))),
        ((0, (0, 1, 2, 5, 6, 9, 10, 11, 14), (38, 34, 42)), (1, (1, 5, 10, 14), (38, 34, 42)), (2, (1, 10), (38, 34, 42))),
    ),
    "sea": (
        ((0, (44, 104, 140)), (6, (30, 80, 120)), (13, (136, 128, 100))),
        ((3, (3, 11), (96, 152, 176)), (5, (7, 15), (96, 152, 176)), *_block(range(10, 13), (1, 6, 12), (44, 96, 84))),
    ),
    "moon": (
        ((0, (10, 12, 26)), (12, (140, 140, 146))),
        ((1, (2, 11), (176, 180, 196)), (4, (6, 14), (176, 180, 196)), (7, (1, 9), (176, 180, 196)), (13, (3, 4, 10, 11), (108, 108, 116))),
    ),
    "volcano": (
        ((0, (74, 30, 38)), (11, (176, 84, 52)), (12, (46, 34, 40))),
        (*_block(range(6, 11), (6, 7, 8, 9), (52, 24, 32)), (5, (7, 8), (52, 24, 32)), (4, (7, 8), (176, 84, 52))),
    ),
    "kitchen": (
        ((0, (204, 188, 166)), (11, (150, 118, 96))),
        (*_block(range(3, 7), (2, 3, 4, 5), (150, 182, 200)), (12, (0, 4, 8, 12), (126, 96, 78)), (14, (2, 6, 10, 14), (126, 96, 78))),
    ),
    "castle": (
        ((0, (122, 122, 132)), (12, (120, 58, 66))),
        tuple((row, (0, 4, 8, 12) if row % 4 else (2, 6, 10, 14), (100, 100, 112)) for row in range(0, 12, 2)),
    ),
}
BACKGROUNDS: Final = tuple(_KINDS)
