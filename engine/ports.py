"""What the engine asks of its surroundings, and the null versions a shell or a test passes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.contracts.events import Phase
from engine.contracts.fitting import Fitting


class EventSink(Protocol):
    """Receives what happens during a run. Calls are cheap and never raise."""

    def progress(
        self, phase: Phase, step: int, total_steps: int, *, seconds_per_step: float | None = None, loss: float | None = None
    ) -> None:
        """Step `step` of `total_steps` of `phase` is done."""

    def preview(self, step: int, image: Path) -> None:
        """A picture of the training so far lies at `image` (PNG)."""

    def checkpoint(self, step: int, files: tuple[Path, ...]) -> None:
        """Resume state for `step` is complete on disk."""

    def fitted(self, fitting: Fitting) -> None:
        """Something was given up to fit into the device's memory."""


class CancelToken(Protocol):
    """Asked between steps."""

    def cancelled(self) -> bool:
        """True once somebody asked to stop."""


class MetricLogger(Protocol):
    """Receives training metrics by step."""

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Record `metrics` of step `step`."""


class IdentityJudge(Protocol):
    """Compares the subject of clips of one storyboard."""

    def likeness(self, clips: Sequence[NDArray[np.uint8]]) -> list[float]:
        """For every clip [F, H, W, 3] how much its subject is that of the other clips, 0..1."""


class NullSink:
    """Drops everything."""

    def progress(
        self, phase: Phase, step: int, total_steps: int, *, seconds_per_step: float | None = None, loss: float | None = None
    ) -> None:
        """Drop it."""

    def preview(self, step: int, image: Path) -> None:
        """Drop it."""

    def checkpoint(self, step: int, files: tuple[Path, ...]) -> None:
        """Drop it."""

    def fitted(self, fitting: Fitting) -> None:
        """Drop it."""


class NeverCancelled:
    """Nobody asks to stop."""

    def cancelled(self) -> bool:
        """Return False."""
        return False


class NullMetrics:
    """Drops everything."""

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Drop it."""


class Either:
    """A cancel token that is on when one of two is."""

    def __init__(self, one: CancelToken, other: CancelToken) -> None:
        self._one, self._other = one, other

    def cancelled(self) -> bool:
        """True once either is."""
        return self._one.cancelled() or self._other.cancelled()
