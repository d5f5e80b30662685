"""Status cards: one public message per job, edited while the job lives, latest state wins."""

from __future__ import annotations

from dataclasses import dataclass

from bot.services.jobs import JobView


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

    async def live(self) -> list[Card]:
        """Cards of jobs that are open, or ended while their card still shows an older state; with progress, position and ETA."""
        raise NotImplementedError

    async def attach(self, job_id: str, message_id: int) -> None:
        """The card was posted."""
        raise NotImplementedError

    async def close(self, job_id: str) -> None:
        """The card shows the job's end, or its channel is lost: never touch it again."""
        raise NotImplementedError
