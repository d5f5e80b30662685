"""`/loras`: what can be used here, with a picture of each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import discord
from discord import app_commands

from bot.commands.desk import Desk, answer
from bot.services.loras import Lora
from bot.ui import list_cards
from engine.errors import StoreError

_log = logging.getLogger(__name__)


def build(desk: Desk) -> app_commands.Command[Any, ..., Any]:
    """The command, bound to `desk`."""

    @app_commands.command(name="loras", description="Characters, styles, motions and effects you can use here")
    @app_commands.allowed_installs(guilds=True, users=False)
    async def loras(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        actor = desk.actor(interaction)
        found = await desk.services.loras.visible(actor)
        pictures = await _pictures(desk, found[: list_cards.LISTED_LORAS])
        try:
            names = {lora_id: f"lora-{lora_id}.png" for lora_id in pictures}
            files = [discord.File(pictures[lora_id], filename=name) for lora_id, name in names.items()]
            await answer(interaction, list_cards.loras(found, names, actor.user_id), files)
        finally:
            for path in pictures.values():
                path.unlink(missing_ok=True)

    return loras


async def _pictures(desk: Desk, found: Sequence[Lora]) -> dict[str, Path]:
    """Local copies of the posters, by LoRA id; one that cannot be had is left out."""

    async def fetch(lora: Lora) -> Path | None:
        if lora.poster is None:
            return None
        try:
            return await desk.services.files.fetch(lora.poster)
        except StoreError:
            _log.warning("no poster", extra={"lora_id": lora.lora_id})
            return None

    paths = await asyncio.gather(*map(fetch, found))
    return {lora.lora_id: path for lora, path in zip(found, paths, strict=True) if path is not None}
