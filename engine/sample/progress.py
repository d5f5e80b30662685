"""What a render tells while it runs: steps over all its denoisings, and stills of what is coming."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, Final

import torch

from engine.contracts.events import Phase
from engine.contracts.geometry import Geometry
from engine.errors import JobCancelledError
from engine.model.loader import ResidentBase
from engine.ports import CancelToken, EventSink
from engine.sample.stills import still

STILL_EVERY_S: Final = 10.0
"""A clip that takes less shows none."""

_PIPELINE_LOGGER: Final = "diffusers.pipelines.ltx2"


class Progress:
    """One render as its sink and its cancel token see it: the steps of several denoisings are counted through."""

    def __init__(self, resident: ResidentBase, sink: EventSink, cancel: CancelToken, total: int, stills: Path | None) -> None:
        self._resident = resident
        self._sink = sink
        self._cancel = cancel
        self._total = total
        self._stills = stills
        self._done = 0  # steps of the denoisings before this one
        self._steps = 0  # of this one
        self._since = perf_counter()
        self._next_still_at = monotonic() + STILL_EVERY_S
        self._before: torch.Tensor | None = None
        self._grid = (0, 0, 0)  # latent frames, rows, columns of this one

    def preparing(self, step: int) -> None:
        """Texts and files are being read (0), or are (1)."""
        self._sink.progress(Phase.PREPARING, step, 1)

    def begin(self, steps: int, geometry: Geometry) -> None:
        """A denoising of that many steps is next; steps beyond the expected total, of a re-rolled scene, raise it."""
        self._done += self._steps
        self._steps = steps
        _, _, *grid = self._resident.latent_shape(geometry)
        self._grid = (grid[0], grid[1], grid[2])
        self._total = max(self._total, self._done + steps)

    def denoising(self) -> None:
        """The first step begins."""
        self._since = perf_counter()
        self._before = None
        self._sink.progress(Phase.DENOISING, self._done, self._total)

    def on_step(self, pipeline: Any, index: int, timestep: torch.Tensor, tensors: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002  # diffusers' signature
        """Called by the pipeline after every step.

        Raises:
            JobCancelledError: somebody asked to stop.
        """
        now = perf_counter()
        self._sink.progress(Phase.DENOISING, self._done + index + 1, self._total, seconds_per_step=now - self._since)
        self._since = now
        if self._stills is not None:
            self._show(pipeline, index, tensors["latents"])
        self.check()
        return tensors

    def check(self) -> None:
        """Stop here when somebody asked to.

        Raises:
            JobCancelledError: so it is.
        """
        if self._cancel.cancelled():
            raise JobCancelledError("The render was cancelled.")

    def _show(self, pipeline: Any, index: int, tokens: torch.Tensor) -> None:
        """A still of where the clip is heading, now and then."""
        before, self._before = self._before, tokens
        if before is None or monotonic() < self._next_still_at or self._stills is None or index + 1 >= self._steps:
            return
        self._next_still_at = monotonic() + STILL_EVERY_S
        levels = pipeline.scheduler.sigmas
        velocity = (tokens - before) / (levels[index + 1] - levels[index])
        self._stills.mkdir(parents=True, exist_ok=True)
        path = self._stills / f"still-{self._done + index + 1:04d}.png"
        still(self._resident, tokens - levels[index + 1] * velocity, self._grid, path)
        self._sink.preview(self._done + index + 1, path)


@contextmanager
def quiet_pipelines() -> Iterator[None]:
    """Silence diffusers' warning that packed latents were given, which is how a variation starts."""
    logger = logging.getLogger(_PIPELINE_LOGGER)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
