"""Figures of merit made from what the oracle reads. Raw scores lie in 0..1; `normalised` turns them into the reported ones."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.tiny.evaluation.oracle import Clip, FrameReading, Reading, read, seen_colour, silhouette, to_logical
from engine.tiny.sprites import COLOURS, Character
from engine.tiny.styles import Style
from engine.tiny.world import HELD_OUT_MOTIONS, STRIDE, Scene

_COLOUR_REACH: Final = 120.0  # RGB distance at which a colour counts as wholly wrong
_STYLE_REACH: Final = 60.0  # RGB distance at which a pixel counts as wholly outside a style


def normalised(score: float, base: float, truth: float) -> float:
    """`score` on a scale where `base` is 0 and `truth` (rendered ground truth) is 1."""
    return (score - base) / max(truth - base, 1e-6)


def identity(clip: Clip, character: Character, style: Style | None = None) -> float:
    """How much of `character` a clip shows: mean over frames of its five parts (shape, body, boots, hat, hat's colour)."""
    return float(np.mean([_frame_identity(frame, character, style) for frame in read(clip, style).frames]))


def style_match(clip: Clip, style: Style) -> float:
    """How close a clip's logical pixels are to the colours `style` can produce, 1 = all of them exactly."""
    distance = style.distance(to_logical(clip))
    return float(np.clip(1.0 - distance / _STYLE_REACH, 0.0, 1.0).mean())


def follows(reading: Reading, scene: Scene) -> dict[str, bool]:
    """What of a scene a clip got right."""
    colour, shape = reading.body == scene.character.body, reading.shape == scene.character.shape
    return {
        "sprite": colour and shape,
        "colour": colour,
        "shape": shape,
        "boots": reading.boots == scene.character.boots,
        "hat": (reading.hat, reading.hat_colour) == (scene.character.hat, scene.character.hat_colour),
        "direction": reading.direction == scene.motion.removeprefix("fast "),
        "background": reading.background == scene.background,
    }


def _frame_identity(frame: FrameReading, character: Character, style: Style | None) -> float:
    parts = [
        float(frame.shape == character.shape),
        _likeness(frame.body_rgb, character.body, style),
        _likeness(frame.boots_rgb, character.boots, style),
        float(frame.hat == character.hat),
    ]
    if character.hat_colour is not None:
        parts.append(_likeness(frame.hat_rgb, character.hat_colour, style) if frame.hat_rgb else 0.0)
    return float(np.mean(parts))


def _likeness(rgb: tuple[float, float, float], colour: str, style: Style | None) -> float:
    target: NDArray[np.float64] = seen_colour(COLOURS[colour], style)
    return max(0.0, 1.0 - float(np.linalg.norm(np.array(rgb) - target)) / _COLOUR_REACH)


def shows_motion(reading: Reading, motion: str) -> bool:
    """Whether the figure goes the way of a held-out motion: never more than a stride off, and a stride or more along both axes.

    The motion may begin anywhere in its cycle.
    """
    places = np.array([(frame.column, frame.row) for frame in reading.frames])
    cycle = np.array(HELD_OUT_MOTIONS[motion])
    if (np.ptp(places, axis=0) < STRIDE).any():
        return False
    for phase in range(len(cycle)):
        path = cycle[(np.arange(len(places)) + phase) % len(cycle)]
        errors = (places - places[0]) - (path - path[0])
        if np.abs(errors).max() <= STRIDE:
            return True
    return False


def silhouette_iou(clip: Clip, truth: Clip) -> float:
    """How well the figure of a clip covers that of another, cell for cell: mean over frames of intersection by union."""
    pairs = zip(read(clip).frames, read(truth).frames, strict=True)
    overlaps = [(silhouette(one), silhouette(other)) for one, other in pairs]
    return float(np.mean([(one & other).sum() / max((one | other).sum(), 1) for one, other in overlaps]))
