"""How long things take: measured pace of the latest jobs, a first guess before there are any."""

from __future__ import annotations

from bot.clock import Clock
from bot.storage import jobs as table
from bot.storage.database import Database
from bot.storage.jobs import JobRecord
from engine.contracts.events import Progress
from engine.contracts.status import JobStatus, Lane

_FIRST_GUESS_S: dict[tuple[str, Lane], float] = {
    ("tiny", Lane.TRAIN): 0.5,
    ("tiny", Lane.RENDER): 3.0,
}
_UNKNOWN_S = 15.0  # seconds per unit of a large base on a current GPU


class Estimates:
    """Seconds per unit, positions and ends."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def seconds(self, base: str, lane: Lane, units: int) -> float:
        """Time a job of `units` runs."""
        pace = await table.seconds_per_unit(self._database.reader, base, lane)
        return units * (pace if pace is not None else _FIRST_GUESS_S.get((base, lane), _UNKNOWN_S))

    async def position(self, record: JobRecord) -> int | None:
        """1 for the next job to start in its lane; None for one that runs or has ended."""
        if record.status not in (JobStatus.QUEUED, JobStatus.DISPATCHED):
            return None
        return (await table.ahead_of(self._database.reader, record))[0] + 1

    async def end(self, record: JobRecord, progress: Progress | None, workers: int) -> float | None:
        """When an open job should end, in unix seconds, with `workers` at work in its lane; None without a worker."""
        now = self._clock()
        if record.status.terminal or workers == 0:
            return None
        own = await self.seconds(record.base, record.lane, record.units)
        if record.status is JobStatus.RUNNING:
            if progress is not None and progress.seconds_per_step and progress.total_steps:
                return now + (progress.total_steps - progress.step) * progress.seconds_per_step
            return max(now, (record.started_at or now) + own)
        _, units_ahead = await table.ahead_of(self._database.reader, record)
        running = [
            other
            for other in await table.open_jobs(self._database.reader, JobStatus.RUNNING)
            if (other.base, other.lane) == (record.base, record.lane)
        ]
        rest = 0.0
        for other in running:
            other_s = await self.seconds(other.base, other.lane, other.units)
            rest += max(0.0, (other.started_at or now) + other_s - now)
        ahead = await self.seconds(record.base, record.lane, units_ahead) if units_ahead else 0.0
        return now + (rest + ahead) / workers + own
