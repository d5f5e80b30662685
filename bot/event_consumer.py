"""Applies the workers' event stream: the position is stored in the transaction of the effects, so nothing is lost or applied twice."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from aiosqlite import Connection
from pydantic import ValidationError

from bot.queue import JobQueue, QueueUnavailableError, StreamEntry
from bot.services.outcomes import Outcomes
from bot.services.posts import Posts
from bot.storage import cursors
from bot.storage.database import Database
from engine.contracts.events import EVENT_ADAPTER, Event

logger = logging.getLogger(__name__)

BATCH = 100
BLOCK_MS = 500
RETRY_S = 0.5


@dataclass(frozen=True)
class EventConsumer:
    """`run` is a task of the bot; `consume` is one round of it."""

    database: Database
    queue: JobQueue
    outcomes: Outcomes
    posts: Posts
    observe: Callable[[Event], None] = lambda _: None
    """Told of every applied event, once it is committed."""

    async def run(self) -> None:
        """Consume for ever; an outage of Redis is waited out."""
        while True:
            try:
                await self.consume(BLOCK_MS)
            except QueueUnavailableError as error:
                logger.debug("no events: %s", error)
                await asyncio.sleep(RETRY_S)

    async def consume(self, block_ms: int) -> int:
        """Apply the next entries, waiting at most `block_ms` for the first. How many were read.

        Raises:
            QueueUnavailableError: Redis is away.
        """
        stream = self.queue.keys.events
        position = await cursors.get(self.database.reader, stream)
        entries = await self.queue.read_events(position, count=BATCH, block_ms=block_ms)
        if not entries:
            await self._notice_wipe(position)
            return 0
        events = [event for entry in entries if (event := _decode(entry)) is not None]
        async with self.database.transaction() as tx:
            overruled = [event.job_id for event in events if not await self._apply(tx, event)]
            await cursors.put(tx, stream, entries[-1].entry_id)
        self.posts.announce()
        self.queue.stirred.set()
        for event in events:
            self.observe(event)
        for job_id in overruled:
            logger.info("a worker runs a job that is over; it is told to stop", extra={"job_id": job_id})
            await self.queue.request_cancel(job_id)
        return len(entries)

    async def _apply(self, tx: Connection, event: Event) -> bool:
        """Apply one event, or leave it out when it contradicts our rows: it would do so for ever, and all others wait behind it."""
        await tx.execute("SAVEPOINT event")
        try:
            return await self.outcomes.apply(tx, event)
        except (sqlite3.IntegrityError, ValueError, TypeError, KeyError):
            logger.exception("an event was left out: %s", event.kind, extra={"job_id": event.job_id})
            await tx.execute("ROLLBACK TO event")
            return True
        finally:
            await tx.execute("RELEASE event")

    async def _notice_wipe(self, position: str) -> None:
        """Start again from the beginning when Redis was emptied: the ids of a new stream may be smaller than our position."""
        if position == cursors.START:
            return
        newest = await self.queue.last_event()
        if newest is None or cursors.order(newest) < cursors.order(position):
            logger.warning("the event stream was wiped; reading from its start")
            async with self.database.transaction() as tx:
                await cursors.put(tx, self.queue.keys.events, cursors.START)


def _decode(entry: StreamEntry) -> Event | None:
    if entry.data is None:
        return None
    try:
        return EVENT_ADAPTER.validate_json(entry.data)
    except ValidationError as error:
        # one unreadable event must not stop all others; its job is healed by the reconciler
        logger.error("unreadable event %s: %s", entry.entry_id, error)  # noqa: TRY400 - the input is in the message
        return None
