"""The sandbox's wall clock: real time plus an offset that a scenario can advance, shared with the bot through a small file."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path


class SandboxClock:
    """Unix seconds that can jump forward.

    Deadlines Discord counts in real time (the 3 s acknowledgement) use `time.monotonic`; everything that is a moment in
    somebody's day (snowflakes, message times, token expiry, quotas) uses this clock.
    """

    def __init__(self, offset_file: Path | None = None) -> None:
        self._offset_s = 0.0
        self._offset_file = offset_file
        self._write()

    def now(self) -> float:
        """Seconds since 1970, as the sandbox's people see them."""
        return time.time() + self._offset_s

    def advance(self, *, minutes: float = 0.0, seconds: float = 0.0) -> None:
        """Jump forward; the bot reads the same offset from the file named in its setting `clock_offset_file`."""
        step_s = minutes * 60 + seconds
        if step_s < 0:
            raise ValueError("time only goes forward")
        self._offset_s += step_s
        self._write()

    def iso(self, at: float | None = None) -> str:
        """ISO 8601 in UTC with microseconds, as Discord writes times."""
        return datetime.fromtimestamp(self.now() if at is None else at, UTC).isoformat(timespec="microseconds")

    def _write(self) -> None:
        if self._offset_file is not None:
            temporary = self._offset_file.with_suffix(".tmp")
            temporary.write_text(f"{self._offset_s}", encoding="ascii")
            temporary.replace(self._offset_file)


DISCORD_EPOCH_MS = 1_420_070_400_000


class Snowflakes:
    """Strictly increasing ids whose upper bits are the time of creation (Discord reference, "Snowflakes")."""

    def __init__(self, clock: SandboxClock) -> None:
        self._clock = clock
        self._last = 0

    def next(self) -> int:
        """A new id for something created now."""
        candidate = (int(self._clock.now() * 1000) - DISCORD_EPOCH_MS) << 22
        self._last = max(candidate, self._last + 1)
        return self._last
