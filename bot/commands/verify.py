"""`/verify`: whether and when a picture or clip was made here."""

from __future__ import annotations

from typing import Any

import discord
from discord import app_commands

from bot.commands.desk import Desk, answer
from bot.commands.uploads import Upload
from bot.ui import origin_cards


def build(desk: Desk) -> app_commands.Command[Any, ..., Any]:
    """The command, bound to `desk`."""

    @app_commands.command(name="verify", description="Whether a clip or picture was made here, when, and with what")
    @app_commands.describe(file="The clip or picture")
    @app_commands.allowed_installs(guilds=True, users=False)
    async def verify(interaction: discord.Interaction, file: discord.Attachment) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        async with desk.received([Upload.of(file)]) as files:
            found = await desk.services.origins.examine(files[0])
        await answer(interaction, origin_cards.origin(found))

    return verify
