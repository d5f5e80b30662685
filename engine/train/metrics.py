"""Training metrics on disk: one JSON object per step, and a picture of the loss."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


class JsonlMetrics:
    """Appends metrics to a file of JSON lines; `after_step` drops what a resumed run is about to do again."""

    def __init__(self, path: Path, after_step: int = 0) -> None:
        kept = [line for line in _lines(path) if _step(line) <= after_step] if after_step else []
        path.write_text("".join(f"{line}\n" for line in kept))
        self._stream = path.open("a", buffering=1)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one line."""
        self._stream.write(json.dumps({"step": step, **metrics}) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def draw_loss_curve(path: Path, steps: Sequence[int], losses: Sequence[float], title: str) -> Path:
    """Write a PNG of the loss, each step and a running mean over a twentieth of the run."""
    figure = Figure(figsize=(6.4, 3.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(steps, losses, color="#c9d3e0", linewidth=0.8, label="step")
    axes.plot(steps, running_mean(losses, max(1, len(losses) // 20)), color="#1f5fa8", linewidth=1.6, label="running mean")
    axes.set(xlabel="step", ylabel="loss", title=title)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    partial = path.with_suffix(".partial")
    figure.savefig(partial, format="png")
    partial.replace(path)
    return path


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Mean of up to `window` latest values at each position."""
    means, total = [], 0.0
    for index, value in enumerate(values):
        total += value - (values[index - window] if index >= window else 0.0)
        means.append(total / min(index + 1, window))
    return means


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def _step(line: str) -> float:
    """Step of a line; a line cut off by a crash belongs to no step."""
    try:
        return float(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return float("inf")
