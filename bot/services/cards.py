"""Status cards: one public message per job, edited while the job lives, latest state wins."""

from __future__ import annotations

from dataclasses import dataclass

from bot.services.jobs import Jobs, JobView
from bot.storage import cards as table
from bot.storage.database import Database


@dataclass(frozen=True)
class Card:
    """The card of one job. `message_id` None: not posted yet (post it with `nonce`)."""

    view: JobView
    nonce: str  # at most 25 characters
    guild_id: int | None
    channel_id: int
    message_id: int | None


class Cards:
    """The card task's view."""

    def __init__(self, database: Database, jobs: Jobs) -> None:
        self._database = database
        self._jobs = jobs

    async def live(self) -> list[Card]:
        """Cards of jobs that are open, or ended while their card still shows an older state; with progress, position and ETA."""
        rows = await table.live(self._database.reader)
        views = await self._jobs.views([row.job_id for row in rows])
        return [
            Card(
                view=views[row.job_id],
                nonce=row.nonce,
                guild_id=views[row.job_id].record.guild_id,
                channel_id=views[row.job_id].record.channel_id,
                message_id=row.message_id,
            )
            for row in rows
        ]

    async def attach(self, job_id: str, message_id: int) -> None:
        """The card was posted."""
        async with self._database.transaction() as tx:
            await table.attach(tx, job_id, message_id)

    async def close(self, job_id: str) -> None:
        """The card shows the job's end, or its channel is lost: never touch it again."""
        async with self._database.transaction() as tx:
            await table.close(tx, job_id)
