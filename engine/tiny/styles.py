"""Looks that recolour a whole picture. Each one is a pure function of a logical picture, so it can be checked by eye and by rule.

A style maps every colour to one of four tones by its brightness, as the palettes of early handhelds did. What it keeps is
which parts are darker than others, what it changes is every colour.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_LUMA: Final = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_STEPS: Final = (70.0, 125.0, 180.0)  # brightness limits between the four tones

_Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Style:
    """A named look of four tones, dark to bright."""

    name: str
    tones: tuple[_Rgb, _Rgb, _Rgb, _Rgb]

    @property
    def palette(self) -> NDArray[np.float64]:
        """All colours a picture in this style can have, [4, 3] in 0..255."""
        return np.array(self.tones, dtype=np.float64)

    def apply(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Recolour [..., rows, columns, 3] uint8 pictures."""
        tone = np.digitize(pictures.astype(np.float64) @ _LUMA, _STEPS)
        recoloured: NDArray[np.uint8] = np.array(self.tones, dtype=np.uint8)[tone]
        return recoloured


def _random_style(name: str, rng: np.random.Generator) -> Style:
    """A ramp from one random hue to another, brighter from tone to tone."""
    first, turn = rng.random(), rng.uniform(-0.35, 0.35)
    saturations = rng.uniform((0.5, 0.5, 0.4, 0.15), (0.9, 0.9, 0.85, 0.5))
    dark, dim, light, bright = (
        _rgb(first + turn * step / 3, saturation, value)
        for step, (saturation, value) in enumerate(zip(saturations, (0.22, 0.5, 0.78, 0.98), strict=True))
    )
    return Style(name, (dark, dim, light, bright))


def _rgb(hue: float, saturation: float, value: float) -> _Rgb:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, float(saturation), value)
    return round(red * 255), round(green * 255), round(blue * 255)


_WELL_KNOWN: Final = (
    Style("noir", ((12, 12, 14), (80, 80, 84), (158, 158, 164), (240, 240, 244))),
    Style("sepia", ((44, 30, 20), (110, 78, 50), (180, 142, 100), (240, 216, 178))),
    Style("pocket", ((15, 56, 15), (48, 98, 48), (120, 150, 20), (176, 204, 40))),
    Style("frost", ((24, 44, 84), (70, 110, 168), (140, 184, 224), (226, 242, 254))),
    Style("candy", ((92, 40, 120), (228, 80, 130), (255, 150, 190), (255, 226, 236))),
    Style("ember", ((20, 8, 12), (110, 20, 18), (222, 80, 20), (255, 206, 70))),
    Style("negative", ((232, 232, 200), (180, 160, 110), (100, 80, 80), (24, 24, 46))),
)
_PSEUDO_NAMES: Final = (
    "velar", "omsk", "tirin", "quado", "brasso", "lumen", "fenno", "sarka", "ombre", "pilo", "vesta", "harl",
    "dorin", "kelp", "marsh", "opalo", "rustic", "solen", "tundo", "ulmar", "wexil", "yonder", "zephi", "cindo",
    "grapho", "nectar", "juno", "ivory", "lotus", "morro",
)  # fmt: skip
_HELD_OUT: Final = (
    Style("dusk", ((26, 14, 58), (122, 38, 110), (240, 104, 78), (255, 208, 132))),
    Style("lagoon", ((6, 40, 62), (10, 96, 112), (40, 168, 156), (250, 240, 150))),
)

STYLES: Final[dict[str, Style]] = {
    style.name: style
    for style in (*_WELL_KNOWN, *(_random_style(name, np.random.default_rng(1000 + i)) for i, name in enumerate(_PSEUDO_NAMES)))
}
"""Styles of the pretraining world."""

HELD_OUT_STYLES: Final[dict[str, Style]] = {style.name: style for style in _HELD_OUT}
"""Styles that pretraining never sees."""
