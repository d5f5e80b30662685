"""What a shell session shows and hears: progress bars, and Ctrl-C as a wish to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from engine.contracts.events import Phase
from engine.contracts.fitting import Fitting


class ConsoleSink:
    """Shows every phase of a run as one bar; a sink for `engine.ports.EventSink`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[Phase, TaskID] = {}

    def progress(
        self, phase: Phase, step: int, total_steps: int, *, seconds_per_step: float | None = None, loss: float | None = None
    ) -> None:
        """Move the bar of `phase`."""
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(phase.value, total=total_steps, note="")
        facts = [] if loss is None else [f"loss {loss:.4f}"]
        if seconds_per_step is not None:
            facts.append(f"{seconds_per_step:.2f} s/step")
        self._progress.update(self._tasks[phase], completed=step, total=total_steps, note=", ".join(facts))

    def preview(self, step: int, image: Path) -> None:
        """Say where the picture lies."""
        self._progress.console.print(f"preview at step {step}: {image}")

    def checkpoint(self, step: int, files: tuple[Path, ...]) -> None:
        """Checkpoints are no news in a shell: the run folder has them."""

    def fitted(self, fitting: Fitting) -> None:
        """Say what was given up."""
        why = "a step ran out of memory" if fitting.ran_out else "to fit into the device's memory"
        what = ", ".join(concession.replace("_", " ") for concession in fitting.concessions)
        self._progress.console.print(f"{why}: {what}; {fitting.width} x {fitting.height} x {fitting.frames}")


@contextmanager
def progress_bars(console: Console, *, shown: bool) -> Iterator[ConsoleSink]:
    """A sink that draws on `console` while the context lasts, or draws nothing when not `shown`."""
    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, disable=not shown) as progress:
        yield ConsoleSink(progress)


class InterruptToken:
    """Cancelled by the first Ctrl-C, which lets the step finish; the second one interrupts as usual."""

    def __init__(self) -> None:
        self._asked = False

    def cancelled(self) -> bool:
        """True after Ctrl-C."""
        return self._asked

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen while the context lasts."""
        before = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, self._ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _ask(self, _signal: int, _frame: FrameType | None) -> None:
        self._asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
