"""The choice of a checkpoint as one picture: what each looked like, how the measures went, and which one was taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from numpy.typing import NDArray
from PIL import Image

from engine.contracts.selection import CheckpointScore, Fault, Selection

_INK, _PALE, _BLUE, _GREEN, _RED, _AMBER = "#1d2733", "#c9d3e0", "#1f5fa8", "#2a8a57", "#b3372b", "#c98a12"
_WORDS: Final = {
    Fault.DEAD: "no effect",
    Fault.OVERFIT: "overfit",
    Fault.MEMORISED: "copies",
    Fault.DRIFTED: "drifts",
    Fault.FROZEN: "frozen",
}
_THUMB_PX: Final = 96


def draw_selection(
    path: Path, selection: Selection, thumbs: Mapping[int, NDArray[np.uint8]], losses: Mapping[int, float], title: str
) -> Path:
    """Write the chart as PNG: a row of pictures, held-out and training loss, and identity, drift and motion by step."""
    scores = selection.scores
    figure = Figure(figsize=(8.6, 6.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    pictures, upper, lower = figure.subplots(3, 1, sharex=True, height_ratios=(1.0, 1.5, 1.5))
    upper_label, lower_label = _draw_losses(upper, selection, losses), _draw_likeness(lower, scores)
    _draw_pictures(pictures, selection, thumbs)
    for axes in (upper, lower):
        axes.axvline(selection.chosen, color=_GREEN, linewidth=7, alpha=0.18)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    upper.set_ylabel(upper_label)
    lower.set_ylabel(lower_label)
    lower.set_xlabel("step")
    margin = 0.06 * max(score.step for score in scores)
    lower.set_xlim(-margin / 2, scores[-1].step + margin)
    figure.suptitle(f"{title}: step {selection.chosen} of {scores[-1].step} kept", color=_INK, fontweight="bold")
    partial = path.with_suffix(".partial")
    figure.savefig(partial, format="png")
    partial.replace(path)
    return path


def _draw_pictures(axes: Axes, selection: Selection, thumbs: Mapping[int, NDArray[np.uint8]]) -> None:
    axes.set_ylim(0, 1)
    axes.axis("off")
    for score in selection.scores:
        is_chosen = score.step == selection.chosen
        colour = _GREEN if is_chosen else _RED if score.faults else _PALE
        thumb = thumbs.get(score.step)
        if thumb is not None:
            zoom = 62 / _THUMB_PX * min(1.0, 9 / len(selection.scores))
            box = {"edgecolor": colour, "linewidth": 3 if is_chosen else 1.5, "boxstyle": "round,pad=0.1", "facecolor": "white"}
            axes.add_artist(
                AnnotationBbox(OffsetImage(_enlarged(thumb), zoom=zoom), (score.step, 0.55), frameon=True, pad=0.1, bboxprops=box)
            )
        text = "kept" if is_chosen else "\n".join(_WORDS[fault] for fault in score.faults[:2])
        axes.text(score.step, 0.02, text, ha="center", va="top", fontsize=8, color=_GREEN if is_chosen else _RED)


def _draw_losses(axes: Axes, selection: Selection, losses: Mapping[int, float]) -> str:
    steps, values = list(losses), list(losses.values())
    window = max(1, len(values) // 20)
    if len(values) > window:
        smooth = np.convolve(values, np.ones(window) / window, mode="valid")
        axes.plot(steps[window - 1 :], smooth, color=_PALE, linewidth=1.6, label="training pictures")
    held = [(score.step, score.held_out_loss) for score in selection.scores if score.held_out_loss is not None]
    if held:
        if selection.base_held_out_loss is not None:
            held.insert(0, (0, selection.base_held_out_loss))
        axes.plot(*zip(*held, strict=True), color=_BLUE, marker="o", linewidth=1.8, label="pictures kept aside")
    axes.legend(frameon=False, fontsize=8)
    return "loss"


def _draw_likeness(axes: Axes, scores: Sequence[CheckpointScore]) -> str:
    curves: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
        ("identity", "like the set", _GREEN, {"marker": "o", "linewidth": 1.8}),
        ("adherence", "follows its guide", _BLUE, {"marker": "o", "linewidth": 1.8}),
        ("drift", "without the trigger", _RED, {"marker": ".", "linewidth": 1.2}),
        ("motion", "motion", _AMBER, {"marker": ".", "linewidth": 1.2, "linestyle": "--"}),
        ("memorised", "copied frames", _INK, {"marker": ".", "linewidth": 1.2, "linestyle": ":"}),
    )
    for name, label, colour, style in curves:
        points = [(score.step, getattr(score, name)) for score in scores if getattr(score, name) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, label=label, **style)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, ncols=2)
    return "share"


def _enlarged(thumb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A thumb of pixel art enlarged by whole factors, anything else as it is."""
    factor = max(1, _THUMB_PX // max(thumb.shape[:2]))
    picture = Image.fromarray(thumb)
    return np.asarray(picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST))
