"""The time as services see it; the sandbox may move it forward through a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

Clock = Callable[[], float]
"""Unix seconds."""


def build_clock(offset_file: Path | None) -> Clock:
    """The system clock, or, when `offset_file` is given, the system clock plus the seconds written there (none: 0).

    The file is read at every call, so that a test that writes it is obeyed at once.
    """
    if offset_file is None:
        return time.time

    def shifted() -> float:
        try:
            return time.time() + float(offset_file.read_text())
        except (FileNotFoundError, ValueError):
            return time.time()

    return shifted
