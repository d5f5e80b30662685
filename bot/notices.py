"""Sends notices: a few sentences to one person, or to a server's log channel. One that nobody takes is given up."""

from __future__ import annotations

import asyncio
import logging

import discord

from bot import discord_codes, languages
from bot.services.notices import Notice, Notices
from bot.ui import admin_cards
from bot.ui.language import speaking

_log = logging.getLogger(__name__)

PAUSE_S = 2.0
MAX_TRIES = 8


class NoticeSender:
    """`run` ends by cancellation only."""

    def __init__(self, client: discord.Client, notices: Notices) -> None:
        self._client = client
        self._notices = notices

    async def run(self) -> None:
        """Send for ever."""
        await self._client.wait_until_ready()
        while True:
            try:
                for notice in await self._notices.due():
                    await self._send(notice)
            except Exception:  # noqa: BLE001 - this loop must outlive whatever one round does
                _log.exception("notices cannot be sent")
            await asyncio.sleep(PAUSE_S)

    async def _send(self, notice: Notice) -> None:
        """One try; the nonce keeps a retry after a lost answer from posting twice."""
        try:
            place = await self._place(notice)
            nonce = f"n{notice.notice_id}"
            with speaking(await languages.of_place(self._notices.servers, self._client, await self._notices.server_of(notice))):
                card = admin_cards.notice(notice)
            await place.send(view=card, nonce=nonce, allowed_mentions=discord.AllowedMentions.none())
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one notice, the others must not wait behind it
            lost = isinstance(error, discord.HTTPException) and error.code in discord_codes.LOST_PLACE
            if lost or notice.tries + 1 >= MAX_TRIES:
                _log.info("notice not delivered: %r", error)
                await self._notices.undeliverable(notice)
            else:
                await self._notices.later(notice, delay_s=2.0**notice.tries)
            return
        await self._notices.sent(notice)

    async def _place(self, notice: Notice) -> discord.abc.Messageable:
        if notice.channel_id is not None:
            return self._client.get_partial_messageable(notice.channel_id, guild_id=notice.guild_id)
        assert notice.user_id is not None
        return await self._client.create_dm(discord.Object(notice.user_id))
