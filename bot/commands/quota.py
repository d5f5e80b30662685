"""`/quota`: today's units."""

from __future__ import annotations

from typing import Any

import discord
from discord import app_commands

from bot.commands.desk import Desk, answer
from bot.ui import list_cards
from engine.contracts.lora import LoraKind


def build(desk: Desk) -> app_commands.Command[Any, ..., Any]:
    """The command, bound to `desk`."""

    @app_commands.command(name="quota", description="Units you have left today, and what they buy")
    @app_commands.allowed_installs(guilds=True, users=False)
    async def quota(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        status = await desk.services.quotas.status(desk.actor(interaction))
        settings = desk.services.settings
        await answer(interaction, list_cards.quota(status, settings.profile, settings.training_defaults(LoraKind.CHARACTER)))

    return quota
