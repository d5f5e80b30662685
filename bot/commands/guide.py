"""`/help`: what can be done here, by example."""

from __future__ import annotations

from typing import Any

import discord
from discord import app_commands

from bot.commands.desk import Desk, answer
from bot.ui import help_cards


def build(desk: Desk) -> app_commands.Command[Any, ..., Any]:
    """The command, bound to `desk`."""

    @app_commands.command(name="help", description="What you can do here, with lines to copy")
    @app_commands.allowed_installs(guilds=True, users=False)
    async def overview(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        actor = desk.actor(interaction)
        offered = await desk.services.loras.complete_name("", actor)
        await answer(interaction, help_cards.overview(offered[0].value if offered else None, admin=actor.is_admin))

    return overview
