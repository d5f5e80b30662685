"""Keeps one public card per job up to date: latest state wins, edits keep their distance, restarts lose nothing.

Every pass reads all live cards anew, so whatever changed between two edits of a card is simply skipped. Each channel has its own task in a
pass: Discord's limit is per channel, and a slow one must not hold up the others.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import discord

from bot import discord_codes, history, languages
from bot.config import BotSettings
from bot.services.app import Services
from bot.services.cards import Card
from bot.ui import job_cards
from bot.ui.language import speak
from bot.ui.views import Press
from engine.contracts.model import StoredObject
from engine.contracts.status import JobStatus
from engine.errors import StoreError

_log = logging.getLogger(__name__)

PASS_S = 1.0
OLD_MESSAGE_S = 3600.0
OLD_MESSAGE_INTERVAL_S = 60.0  # Discord allows three edits in six seconds per channel for messages older than an hour (code 30046)
NONCE_LIFE_S = 120.0
LINK_WAIT_S = 30.0  # how long a finished card waits for the link to its result
EDITS_PER_PASS = 5  # per channel; about what Discord grants in five seconds


@dataclass
class _Shown:
    """What a card shows as far as this process knows."""

    rendered: list[dict[str, Any]]
    edited_at: float  # loop time
    status: JobStatus
    eta: float | None
    preview_key: str | None


class StatusCards:
    """The one editor of status cards. `run` ends by cancellation only."""

    def __init__(self, client: discord.Client, services: Services, settings: BotSettings, bell: asyncio.Event | None = None) -> None:
        self._client = client
        self._services = services
        self._settings = settings
        desk = getattr(client, "desk", None)
        self._bell: asyncio.Event = bell or (desk.bell if desk is not None else asyncio.Event())
        self._shown: dict[str, _Shown] = {}

    async def run(self) -> None:
        """Update cards until cancelled."""
        await self._client.wait_until_ready()
        while True:
            self._bell.clear()
            try:
                await self.update_all()
            except Exception:  # noqa: BLE001 - this loop must outlive whatever one round does
                _log.exception("cards cannot be read")
            with suppress(TimeoutError):
                async with asyncio.timeout(min(PASS_S, self._settings.card_edit_interval_s)):
                    await self._bell.wait()

    async def update_all(self) -> None:
        """One pass over all live cards."""
        live = await self._services.cards.live()
        self._forget(live)
        by_channel = itertools.groupby(sorted(live, key=lambda card: card.channel_id), key=lambda card: card.channel_id)
        await asyncio.gather(*(self._update_channel(list(group)) for _, group in by_channel))

    def _forget(self, live: list[Card]) -> None:
        alive = {card.view.record.job_id for card in live}
        for job_id in [job_id for job_id in self._shown if job_id not in alive]:
            del self._shown[job_id]

    async def _update_channel(self, group: list[Card]) -> None:
        # changes people wait for come first: new cards, ended jobs, then the card that was left alone longest
        group.sort(key=self._urgency)
        speak(await languages.of_place(self._services.servers, self._client, group[0].guild_id))
        budget = EDITS_PER_PASS
        for card in group:
            if budget <= 0:
                break
            try:
                budget -= await self._update(card)
            except Exception:  # noqa: BLE001 - this loop must outlive whatever one round does
                _log.exception("card not updated", extra={"job_id": card.view.record.job_id})

    def _urgency(self, card: Card) -> tuple[int, float]:
        shown = self._shown.get(card.view.record.job_id)
        fresh = card.message_id is None or card.view.record.status.terminal
        return (0 if fresh else 1, shown.edited_at if shown is not None else 0.0)

    # ---- one card ---------------------------------------------------------------------------------------------------------------------

    async def _update(self, card: Card) -> int:
        """Post or edit if there is something new; returns the number of requests spent."""
        record = card.view.record
        if card.message_id is None:
            if record.status.terminal:
                await self._services.cards.close(record.job_id)
                return 0
            return await self._post(card)
        shown = self._shown.get(record.job_id)
        if shown is not None and not self._may_edit(card, shown):
            return 0
        return await self._edit(card, card.message_id, shown)

    def _may_edit(self, card: Card, shown: _Shown) -> bool:
        if card.view.record.status is not shown.status:
            return True
        interval = self._settings.card_edit_interval_s
        if card.message_id is not None and discord.utils.utcnow().timestamp() - _posted_at(card.message_id) > OLD_MESSAGE_S:
            interval = max(interval, OLD_MESSAGE_INTERVAL_S)
        return asyncio.get_running_loop().time() - shown.edited_at >= interval

    async def _post(self, card: Card) -> int:
        record = card.view.record
        channel = self._client.get_partial_messageable(card.channel_id, guild_id=card.guild_id)
        rendered = job_cards.status(card.view)
        try:
            message = await self._find(card, channel) or await channel.send(
                view=rendered,
                nonce=card.nonce,
                allowed_mentions=discord.AllowedMentions.none(),
            )
        except discord.HTTPException as error:
            if error.code in discord_codes.LOST_PLACE or error.code == discord_codes.UNKNOWN_MESSAGE:
                await self._services.cards.close(record.job_id)
                return 1
            raise
        await self._services.cards.attach(record.job_id, message.id)
        self._remember(card, rendered.rendered(), None)
        return 1

    async def _find(self, card: Card, channel: discord.PartialMessageable) -> discord.Message | None:
        """Our card from before a crash; younger ones are found by their nonce."""
        age = self._services.clock() - card.view.record.created_at
        if age < NONCE_LIFE_S:
            return None
        marker = Press("job", "cancel", card.view.record.job_id).custom_id
        return await history.find_own(self._client, channel, {marker}, discord.utils.utcnow().timestamp() - age)

    async def _edit(self, card: Card, message_id: int, shown: _Shown | None) -> int:
        record = card.view.record
        view = replace(card.view, eta=self._steady(card, shown))
        preview = record.preview if record.status is JobStatus.RUNNING else None
        if preview is not None and not await self._services.screening.shows_preview(record, preview):
            preview = None
        key = preview.key if preview is not None else None
        path = None
        if preview is not None and (shown is None or shown.preview_key != key):
            path = await self._copy(preview, record.job_id)
            if path is None:
                key = shown.preview_key if shown is not None else None  # the one before stays
        name = f"preview-{record.job_id.lower()}.png" if key is not None else None
        rendered = job_cards.status(view, preview=name)
        components = rendered.rendered()
        if shown is not None and components == shown.rendered and path is None:
            return await self._close_if_over(card)
        attachments: list[discord.Attachment | discord.File] | None = None
        try:
            if path is not None:
                attachments = [discord.File(path, filename=name)]
            elif key is None:
                attachments = []
            message = self._client.get_partial_messageable(card.channel_id, guild_id=card.guild_id).get_partial_message(message_id)
            nobody = discord.AllowedMentions.none()
            if attachments is None:
                await message.edit(view=rendered, allowed_mentions=nobody)
            else:
                await message.edit(view=rendered, attachments=attachments, allowed_mentions=nobody)
        except discord.HTTPException as error:
            if error.code in discord_codes.LOST_PLACE or error.code == discord_codes.UNKNOWN_MESSAGE:
                await self._services.cards.close(record.job_id)
                return 1
            raise
        finally:
            if path is not None:
                path.unlink(missing_ok=True)
        self._remember(replace(card, view=view), components, key)
        await self._close_if_over(card)
        return 1

    async def _copy(self, preview: StoredObject, job_id: str) -> Path | None:
        """A local copy; None when there is none to be had, which must not keep the card from being edited."""
        try:
            return await self._services.files.fetch(preview)
        except StoreError as error:
            _log.warning("no preview: %s", error, extra={"job_id": job_id})
            return None

    async def _close_if_over(self, card: Card) -> int:
        """A finished card is done with once it links to its result, or has waited for that long enough."""
        record = card.view.record
        if not record.status.terminal:
            return 0
        waited = self._services.clock() - (record.finished_at or 0.0)
        if record.status is not JobStatus.SUCCEEDED or record.posted_message_id is not None or waited > LINK_WAIT_S:
            await self._services.cards.close(record.job_id)
        return 0

    def _remember(self, card: Card, components: list[dict[str, Any]], preview_key: str | None) -> None:
        record = card.view.record
        now = asyncio.get_running_loop().time()
        self._shown[record.job_id] = _Shown(components, now, record.status, card.view.eta, preview_key)

    def _steady(self, card: Card, shown: _Shown | None) -> float | None:
        """The ETA, but the one already shown while the new one says about the same: Discord counts down by itself."""
        eta = card.view.eta
        if eta is None or shown is None or shown.eta is None:
            return eta
        tolerance = max(5.0, 0.15 * abs(eta - self._services.clock()))
        return shown.eta if abs(eta - shown.eta) <= tolerance else eta


def _posted_at(message_id: int) -> float:
    return discord.utils.snowflake_time(message_id).timestamp()
