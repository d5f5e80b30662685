"""`/cast`: stacks of LoRAs saved under a name."""

from __future__ import annotations

import discord
from discord import app_commands

from bot.commands.completion import complete_stack
from bot.commands.desk import Desk, answer
from bot.ui import cards, library_cards
from bot.ui.text import library as words


def build(desk: Desk) -> app_commands.Group:
    """The commands, bound to `desk`."""
    group = app_commands.Group(
        name="cast",
        description="Stacks of LoRAs under one name: /generate loras: @pilot",
        allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
    )

    @group.command(name="save", description="Give a stack of LoRAs a name")
    @app_commands.describe(
        name="2 to 16 small letters or digits, called with @ in front", loras="What is in it, such as hero:0.9, watercolour"
    )
    async def save(interaction: discord.Interaction, name: str, loras: str) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        cast = await desk.services.casts.save(name, loras, desk.actor(interaction))
        await answer(interaction, cards.notice(words.cast_saved(cast.name, library_cards.members(cast))))

    @group.command(name="list", description="The casts you can call here")
    async def listed(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await answer(interaction, library_cards.casts(await desk.services.casts.listed(desk.actor(interaction))))

    @group.command(name="forget", description="Forget a cast of yours; its LoRAs stay")
    @app_commands.describe(name="Its name")
    async def forget(interaction: discord.Interaction, name: str) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await desk.services.casts.delete(name, desk.actor(interaction))
        await answer(interaction, cards.notice(words.cast_deleted(name.strip().lower())))

    complete_stack(desk, save, "loras")
    return group
