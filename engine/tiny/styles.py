"""Looks that recolour a whole picture. Each one is a pure function of a logical picture, so it can be checked by eye and by rule.

A style is a duotone: every colour becomes a mixture of one colour for the shadows and one for the lights, by its brightness.
That is a linear map of a pixel, so in the latents of a linear encoder it is one as well: something a small denoiser can learn
of a style it has never met, for places its pictures do not show (`engine/LOG.md` tells what became of palettes of four tones).
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_LUMA: Final = np.array([0.299, 0.587, 0.114]) / 255.0  # ITU-R BT.601
_CONTRAST: Final = 1.4  # without their hues, figures need more of it to stand out
_HUES: Final = (  # upper limit in turns, word
    (0.03, "red"), (0.11, "orange"), (0.19, "yellow"), (0.45, "green"), (0.54, "cyan"), (0.70, "blue"), (0.83, "purple"), (0.95, "pink"),
    (1.00, "red"),
)  # fmt: skip

_Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Style:
    """A look that mixes `shadows` and `lights` by brightness; one without a name can only be told by its `tones`."""

    name: str | None
    shadows: _Rgb
    lights: _Rgb

    @property
    def tones(self) -> str:
        """The look in words, shadows first: "blue and orange tones"."""
        return f"{_colour_word(self.shadows)} and {_colour_word(self.lights)} tones"

    def apply(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Recolour [..., 3] uint8 pictures."""
        brightness = np.clip(0.5 + _CONTRAST * (pictures.astype(np.float64) @ _LUMA - 0.5), 0.0, 1.0)[..., None]
        mixed = (1.0 - brightness) * np.array(self.shadows) + brightness * np.array(self.lights)
        recoloured: NDArray[np.uint8] = mixed.round().astype(np.uint8)
        return recoloured

    def distance(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far colours [..., 3] in 0..255 are from the nearest one this style can show, [...]."""
        start, span = np.array(self.shadows, dtype=np.float64), np.subtract(self.lights, self.shadows, dtype=np.float64)
        along = np.clip((pixels - start) @ span / (span @ span), 0.0, 1.0)
        away: NDArray[np.float64] = np.linalg.norm(pixels - start - along[..., None] * span, axis=-1)
        return away


def random_style(rng: np.random.Generator, name: str | None = None) -> Style:
    """Draw two hues, a dark one for the shadows and a bright one for the lights."""
    shadows = _rgb(rng.random(), rng.uniform(0.4, 1.0), rng.uniform(0.12, 0.45))
    lights = _rgb(rng.random(), rng.uniform(0.1, 0.8), rng.uniform(0.8, 1.0))
    return Style(name, shadows, lights)


def _rgb(hue: float, saturation: float, value: float) -> _Rgb:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _colour_word(rgb: _Rgb) -> str:
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255.0 for channel in rgb))
    if saturation < 0.15:
        return "white" if value > 0.5 else "black"
    return next(word for limit, word in _HUES if hue <= limit)


_WELL_KNOWN: Final = (
    Style("noir", (10, 10, 12), (244, 244, 246)),
    Style("sepia", (48, 28, 14), (246, 222, 180)),
    Style("pocket", (15, 56, 15), (190, 214, 60)),
    Style("frost", (16, 40, 96), (226, 244, 255)),
    Style("candy", (96, 24, 110), (255, 206, 226)),
    Style("ember", (30, 4, 8), (255, 176, 50)),
    Style("negative", (240, 236, 214), (24, 20, 46)),
)
_PSEUDO_NAMES: Final = (
    "velar", "omsk", "tirin", "quado", "brasso", "lumen", "fenno", "sarka", "ombre", "pilo", "vesta", "harl",
    "dorin", "kelp", "marsh", "opalo", "rustic", "solen", "tundo", "ulmar", "wexil", "yonder", "zephi", "cindo",
    "grapho", "nectar", "juno", "ivory", "lotus", "morro",
)  # fmt: skip
_HELD_OUT: Final = (
    Style("dusk", (62, 12, 96), (255, 196, 112)),
    Style("lagoon", (0, 56, 84), (190, 255, 220)),
)

STYLES: Final[dict[str, Style]] = {
    style.name: style
    for style in (*_WELL_KNOWN, *(random_style(np.random.default_rng(1000 + i), name) for i, name in enumerate(_PSEUDO_NAMES)))
    if style.name is not None
}
"""Named styles of the pretraining world."""

HELD_OUT_STYLES: Final[dict[str, Style]] = {style.name: style for style in _HELD_OUT if style.name is not None}
"""Styles that pretraining never sees."""
