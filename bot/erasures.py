"""Forgets people who asked for it: their messages in Discord first, while we still know where they are, then everything else."""

from __future__ import annotations

import asyncio
import logging

import discord

from bot.queue import QueueUnavailableError
from bot.services.app import Services
from engine.errors import StoreError

_log = logging.getLogger(__name__)

PAUSE_S = 5.0
EXPIRY_INTERVAL_S = 3600.0


class Erasures:
    """`run` ends by cancellation only; what a restart interrupts is begun again."""

    def __init__(self, client: discord.Client, services: Services) -> None:
        self._client = client
        self._services = services

    async def run(self) -> None:
        """Work off requests, and delete once an hour what was kept long enough."""
        await self._client.wait_until_ready()
        next_expiry = 0.0
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self.work_off()
                if loop.time() >= next_expiry:
                    next_expiry = loop.time() + EXPIRY_INTERVAL_S
                    await self._services.library.purge()
                    if gone := await self._services.privacy.expire():
                        _log.info("%d files were kept long enough and are deleted", gone)
            except (StoreError, QueueUnavailableError) as error:
                _log.warning("somebody cannot be forgotten yet: %s", error)
            except Exception:  # noqa: BLE001 - this loop must outlive whatever one round does
                _log.exception("somebody cannot be forgotten yet")
            await self._services.privacy.wait(PAUSE_S)

    async def work_off(self) -> int:
        """Forget everybody whose jobs have ended; how many.

        Raises:
            StoreError, QueueUnavailableError: nobody can be forgotten now.
        """
        forgotten = 0
        for user_id in await self._services.privacy.leaving():
            try:
                for channel_id, message_id in await self._services.privacy.messages(user_id):
                    await self._delete(channel_id, message_id)
                await self._services.privacy.finish(user_id)
                forgotten += 1
            except (StoreError, QueueUnavailableError):
                raise
            except Exception:  # noqa: BLE001 - whoever comes next must not wait for ever behind one we stumble over
                _log.exception("somebody cannot be forgotten yet")
        return forgotten

    async def _delete(self, channel_id: int, message_id: int) -> None:
        try:
            await self._client.get_partial_messageable(channel_id).get_partial_message(message_id).delete()
        except discord.HTTPException as error:  # gone already, or out of our reach: neither keeps the rest from going
            _log.info("message not deleted: %s", error)
