"""What the recipe wires together for a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from engine.config import TrainConfig
from engine.data.dataset import LocalItem, TextTable
from engine.data.prepare import ItemReader
from engine.evaluate.exam import Exam, Showing
from engine.model.loader import ResidentBase
from engine.ports import CancelToken, EventSink, MetricLogger
from engine.train.checkpoint import Checkpoint
from engine.train.fit import Fit
from engine.train.parallel import World

RenderPreview = Callable[[int, Path], Path | None]
"""(step, LoRA file) -> picture, or None when the preview gave way to something more urgent and should be tried again."""


@dataclass(frozen=True)
class RunParts:
    """What the recipe has wired for a run; the run changes none of it."""

    resident: ResidentBase
    config: TrainConfig  # completed: nothing is None that a preset can fill
    items: Sequence[LocalItem]
    reader: ItemReader
    texts: TextTable
    data_sha256: str
    identity: str
    run_dir: Path
    sink: EventSink
    cancel: CancelToken
    metrics: MetricLogger
    kept_aside: frozenset[int]  # items that are never learned, to judge by
    showing: Showing
    render_preview: RenderPreview
    exam: Exam
    world: World
    fit: Fit
    refitted: Callable[[Fit], RunParts]
    """The same training, fitted in another way."""

    saved: Callable[[], Checkpoint | None]
    """The latest checkpoint on disk, the main process's."""

    began_at: datetime  # goes into the manifest; a resumed run keeps the first one, so that its file is the same to the bit
