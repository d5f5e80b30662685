"""How long things take: measured pace of the latest jobs, a first guess before there are any."""

from __future__ import annotations

import bisect
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bot.clock import Clock
from bot.storage import line as table
from bot.storage.database import Database
from bot.storage.jobs import JobRecord
from engine.contracts.events import Progress
from engine.contracts.status import SHARED, JobStatus, Lane

_FIRST_GUESS_S: dict[tuple[str, Lane], float] = {
    ("tiny", Lane.TRAIN): 0.5,
    ("tiny", Lane.RENDER): 3.0,
}
PACE_KEPT_S = 2.0
_UNKNOWN_S = 15.0  # seconds per unit of a large base on a current GPU


ASKED_ALONE = 3
"""Up to as many positions in one lane are asked for one by one, each a count; more need the whole line once."""
NEAR = 500
"""Up to as many jobs before one are counted whenever somebody asks."""
LINE_KEPT_S = 2.0
LINE_SHARE = 20
"""A line is looked at again after at least so many times the time that took."""


@dataclass(frozen=True)
class LanePace:
    """One lane now."""

    seconds_per_unit: float
    rest_s: float  # what its running jobs still need, all together
    workers: int


@dataclass(frozen=True)
class _Line:
    """A long line as it was a moment ago."""

    until: float  # monotonic time
    places: list[float]
    units: list[int]  # of all jobs up to each


class Estimates:
    """Positions and ends. What concerns a whole lane is asked once (`pace`) for all jobs in it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._lines: dict[tuple[str, Lane, str], _Line] = {}
        self._paces: dict[tuple[str, Lane], tuple[float, float]] = {}  # -> monotonic time until which it is kept, seconds per unit

    async def seconds_per_unit(self, base: str, lane: Lane) -> float:
        """Measured pace of a lane; looked up again after `PACE_KEPT_S`."""
        kept = self._paces.get((base, lane))
        now = time.monotonic()
        if kept is None or kept[0] < now:
            measured = await table.seconds_per_unit(self._database.reader, base, lane)
            kept = now + PACE_KEPT_S, measured if measured is not None else _FIRST_GUESS_S.get((base, lane), _UNKNOWN_S)
            self._paces[base, lane] = kept
        return kept[1]

    async def pace(self, base: str, lane: Lane, workers: int, pool: str = SHARED) -> LanePace:
        """The lane of a pool now, served by `workers`."""
        per_unit = await self.seconds_per_unit(base, lane)
        now = self._clock()
        running = await table.running(self._database.reader, base, lane, pool)
        rest_s = sum(max(0.0, began + units * per_unit - now) for units, began in running)
        return LanePace(per_unit, rest_s, workers)

    async def ahead(self, waiting: Sequence[JobRecord]) -> dict[str, tuple[int, int]]:
        """Jobs and units before each of `waiting`, which are queued or dispatched; many of one lane are asked for together."""
        by_lane: dict[tuple[str, Lane, str], list[JobRecord]] = {}
        for record in waiting:
            by_lane.setdefault((record.base, record.lane, record.pool), []).append(record)
        found: dict[str, tuple[int, int]] = {}
        for (base, lane, pool), records in by_lane.items():
            if len(records) > ASKED_ALONE:
                found |= await table.ahead_of_each(self._database.reader, base, lane, pool)
            else:
                found |= {record.job_id: await self._ahead_of(record) for record in records}
        return found

    async def _ahead_of(self, record: JobRecord) -> tuple[int, int]:
        """Exact near the front; far behind, where nobody can tell, from a line looked at a moment ago, so that the price stays flat."""
        jobs, units = await table.ahead_of(self._database.reader, record.job_id, NEAR)
        if jobs < NEAR:
            return jobs, units
        line = await self._line(record.base, record.lane, record.pool)
        before = bisect.bisect_left(line.places, record.fair_start)
        return max(NEAR, before), max(units, line.units[before - 1] if before else 0)

    async def _line(self, base: str, lane: Lane, pool: str) -> _Line:
        kept = self._lines.get((base, lane, pool))
        began = time.monotonic()
        if kept is None or kept.until < began:
            waiting = await table.places(self._database.reader, base, lane, pool)
            until = began + max(LINE_KEPT_S, LINE_SHARE * (time.monotonic() - began))
            kept = _Line(until, [place for place, _ in waiting], list(itertools.accumulate(units for _, units in waiting)))
            self._lines[base, lane, pool] = kept
        return kept

    def place(
        self, record: JobRecord, pace: LanePace, ahead: tuple[int, int], progress: Progress | None
    ) -> tuple[int | None, float | None]:
        """Position and end of a job with these jobs and units `ahead` of it.

        Returns:
            1 for the next job to start in its lane, None for one that runs or has ended; and the unix time at which it should end, None
            when it has ended or nobody serves its lane.
        """
        now = self._clock()
        own_s = record.units * pace.seconds_per_unit
        if record.status.terminal:
            return None, None
        if record.status is JobStatus.RUNNING:
            return None, self._end_of_running(record, own_s, progress) if pace.workers else None
        jobs_ahead, units_ahead = ahead
        wait_s = (pace.rest_s + units_ahead * pace.seconds_per_unit) / max(1, pace.workers)
        return jobs_ahead + 1, now + wait_s + own_s if pace.workers else None

    def _end_of_running(self, record: JobRecord, own_s: float, progress: Progress | None) -> float:
        now = self._clock()
        if progress is not None and progress.seconds_per_step and progress.total_steps:
            return now + (progress.total_steps - progress.step) * progress.seconds_per_step
        return max(now, (record.started_at or now) + own_s)
