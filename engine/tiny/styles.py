"""Looks that recolour a whole picture. Each one is a pure function of a logical picture, so it can be checked by eye and by rule.

A style maps every colour to one of eight: four steps of brightness, each in a warm and a cool variant. What it keeps
is which colours differ, what it changes is all of them, so a character stays recognisable in every style.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_LUMA: Final = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_STEPS: Final = (70.0, 125.0, 180.0)  # brightness limits between the four steps


@dataclass(frozen=True)
class Style:
    """A named look: `cool` and `warm` are four colours each, dark to bright."""

    name: str
    cool: tuple[tuple[int, int, int], ...]
    warm: tuple[tuple[int, int, int], ...]
    scanlines: float = 1.0  # brightness of every second logical row

    @property
    def palette(self) -> NDArray[np.float64]:
        """All colours a picture in this style can have, [8 or 16, 3] in 0..255."""
        colours = np.array([*self.cool, *self.warm], dtype=np.float64)
        return colours if self.scanlines == 1.0 else np.concatenate([colours, colours * self.scanlines])

    def apply(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Recolour [..., rows, columns, 3] uint8 pictures."""
        values = pictures.astype(np.float64)
        step = np.digitize(values @ _LUMA, _STEPS)
        warm = (values[..., 0] > values[..., 2]).astype(int)
        table = np.array([self.cool, self.warm], dtype=np.float64)
        styled = table[warm, step]
        if self.scanlines != 1.0:
            styled[..., 1::2, :, :] *= self.scanlines
        rounded: NDArray[np.uint8] = styled.round().astype(np.uint8)
        return rounded


def _random_style(name: str, rng: np.random.Generator) -> Style:
    """A style with two ramps of random hues; one in four has scanlines."""
    hues = rng.random(2)
    ramps = []
    for hue in hues:
        drift = rng.uniform(-0.12, 0.12)
        ramps.append(
            tuple(
                _rgb(hue + drift * step, saturation, value)
                for step, (saturation, value) in enumerate(
                    zip(rng.uniform((0.5, 0.5, 0.3, 0.1), (0.9, 0.9, 0.8, 0.45)), (0.22, 0.5, 0.78, 0.98), strict=True)
                )
            )
        )
    return Style(name, ramps[0], ramps[1], 0.7 if rng.random() < 0.25 else 1.0)


def _rgb(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, float(saturation), value)
    return round(red * 255), round(green * 255), round(blue * 255)


_WELL_KNOWN: Final = (
    Style(
        "noir",
        cool=((12, 12, 14), (80, 80, 84), (158, 158, 164), (240, 240, 244)),
        warm=((24, 24, 24), (104, 104, 104), (184, 184, 184), (255, 255, 255)),
    ),
    Style(
        "sepia",
        cool=((44, 30, 20), (100, 74, 50), (168, 134, 98), (232, 208, 170)),
        warm=((60, 36, 20), (126, 88, 54), (196, 152, 104), (248, 226, 188)),
    ),
    Style(
        "pocket",
        cool=((15, 56, 15), (48, 98, 48), (120, 150, 20), (155, 188, 15)),
        warm=((28, 70, 20), (64, 116, 40), (138, 168, 24), (176, 204, 40)),
    ),
    Style(
        "frost",
        cool=((24, 44, 84), (70, 110, 168), (140, 184, 224), (226, 242, 254)),
        warm=((44, 36, 92), (100, 92, 170), (168, 164, 226), (238, 234, 254)),
    ),
    Style(
        "candy",
        cool=((92, 40, 120), (180, 90, 200), (240, 150, 226), (255, 220, 246)),
        warm=((140, 30, 80), (228, 80, 130), (255, 150, 170), (255, 226, 214)),
    ),
    Style(
        "ember",
        cool=((20, 8, 12), (90, 14, 20), (190, 50, 20), (255, 170, 40)),
        warm=((44, 10, 8), (140, 26, 14), (230, 96, 20), (255, 226, 110)),
    ),
    Style(
        "negative",
        cool=((235, 230, 190), (190, 150, 90), (110, 70, 60), (20, 30, 50)),
        warm=((190, 235, 230), (90, 170, 190), (50, 90, 130), (30, 10, 40)),
    ),
)
_PSEUDO_NAMES: Final = (
    "velar", "omsk", "tirin", "quado", "brasso", "lumen", "fenno", "sarka", "ombre", "pilo", "vesta", "harl",
    "dorin", "kelp", "marsh", "opalo", "rustic", "solen", "tundo", "ulmar", "wexil", "yonder", "zephi", "cindo",
    "grapho", "nectar", "juno", "ivory", "lotus", "morro",
)  # fmt: skip
_HELD_OUT: Final = (
    Style(
        "dusk",
        cool=((26, 14, 58), (78, 40, 128), (128, 88, 196), (196, 168, 238)),
        warm=((66, 14, 54), (162, 40, 84), (240, 110, 78), (255, 208, 132)),
    ),
    Style(
        "lagoon",
        cool=((6, 40, 62), (10, 96, 112), (40, 168, 156), (168, 236, 204)),
        warm=((60, 40, 20), (150, 100, 30), (222, 176, 60), (250, 240, 150)),
    ),
)

STYLES: Final[dict[str, Style]] = {
    style.name: style
    for style in (*_WELL_KNOWN, *(_random_style(name, np.random.default_rng(1000 + i)) for i, name in enumerate(_PSEUDO_NAMES)))
}
"""Styles of the pretraining world."""

HELD_OUT_STYLES: Final[dict[str, Style]] = {style.name: style for style in _HELD_OUT}
"""Styles that pretraining never sees."""
