"""The outbox: what has to appear in Discord exactly once. Rows are written with the event that causes them; `bot/outbox.py` drains."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import ValidationError
from ulid import ULID

from bot.clock import Clock
from bot.storage import jobs as jobs_table
from bot.storage import outbox as table
from bot.storage.database import Database

if TYPE_CHECKING:  # jobs end through outcomes, which write posts
    from bot.services.jobs import Jobs
    from bot.services.overview import JobView

logger = logging.getLogger(__name__)

UNREADABLE_S = 600.0
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class PostKind(StrEnum):
    """What the new message says."""

    RESULT = "result"  # a clip, or a trained LoRA with its preview
    FAILED = "failed"  # the job ended without a result, units were given back


@dataclass(frozen=True)
class Post:
    """One message that must exist. `view.record` says where, for whom and with which result."""

    post_id: int
    kind: PostKind
    nonce: str  # at most 25 characters, the same at every try
    view: JobView
    tries: int  # that failed
    first_try_at: float | None  # None: never sent, so it cannot be in the channel yet


def nonce_for(job_id: str, purpose: str) -> str:
    """A message nonce made from the job alone: one letter and the ULID in base 62, at most 23 of Discord's 25 characters."""
    number, digits = int(ULID.from_str(job_id)), ""
    while number:
        number, digit = divmod(number, 62)
        digits = _DIGITS[digit] + digits
    return purpose[0] + digits


class Posts:
    """The drain's view of the outbox."""

    def __init__(self, database: Database, jobs: Jobs, clock: Clock) -> None:
        self._database = database
        self._jobs = jobs
        self._clock = clock
        self._written = asyncio.Event()

    async def due(self, *, limit: int = 10) -> list[Post]:
        """Posts whose time has come, oldest first. One whose row this version can't read waits, and lets those behind it pass."""
        posts = []
        for record in await table.due(self._database.reader, self._clock(), limit):
            try:
                view = await self._jobs.get(record.job_id)
            except ValidationError as error:
                logger.exception("a post can't be read", extra={"job_id": record.job_id})
                await self.later(record.post_id, delay_s=UNREADABLE_S, error=repr(error)[:500])
                continue
            posts.append(Post(record.post_id, PostKind(record.kind), record.nonce, view, record.tries, record.first_try_at))
        return posts

    def announce(self) -> None:
        """A transaction that may have written posts was committed."""
        self._written.set()

    async def wait(self, timeout_s: float) -> None:
        """Return when a post was written since the last call, or after `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._written.wait()
        self._written.clear()

    async def begin(self, post_id: int) -> None:
        """About to send: remember when the first time was."""
        async with self._database.transaction() as tx:
            await table.begin(tx, post_id, self._clock())

    async def sent(self, post_id: int, *, channel_id: int, message_id: int) -> None:
        """The message exists; the job remembers it."""
        async with self._database.transaction() as tx:
            job_id = await table.mark_sent(tx, post_id, channel_id, message_id)
            if job_id is not None:
                await jobs_table.note_posted(tx, job_id, channel_id, message_id)

    async def later(self, post_id: int, *, delay_s: float, error: str) -> None:
        """A try has failed: the next one is after `delay_s`."""
        async with self._database.transaction() as tx:
            await table.postpone(tx, post_id, self._clock() + delay_s, error)

    async def undeliverable(self, post_id: int, *, error: str) -> None:
        """Nowhere to post it; the result stays in `/jobs`."""
        async with self._database.transaction() as tx:
            await table.mark_undeliverable(tx, post_id, error)
