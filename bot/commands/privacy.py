"""`/privacy`: what is kept of me, as a file, or forgotten."""

from __future__ import annotations

import discord
from discord import app_commands

from bot.commands.desk import Desk, Interaction, answer
from bot.ui import cards, privacy_cards, safety_cards
from bot.ui.text import privacy as words


def build(desk: Desk) -> app_commands.Group:
    """The commands, bound to `desk`."""
    group = app_commands.Group(
        name="privacy",
        description="What I keep of you: see it, take it with you, have it forgotten",
        allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
    )

    @group.command(name="about", description="What is kept, for how long, and who sees it")
    async def about(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await answer(interaction, privacy_cards.about(desk.services.settings))

    @group.command(name="export", description="A zip of everything I keep of you")
    async def export(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        link, size = await desk.services.privacy.export(desk.actor(interaction))
        await answer(interaction, privacy_cards.export(link, size, desk.services.clock() + desk.services.settings.link_expires_s))

    @group.command(name="delete", description="Forget me: jobs, LoRAs, clips, uploads, everything")
    async def delete(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await answer(interaction, privacy_cards.confirm_delete())

    @group.command(name="likeness", description="LoRAs that show you, and the button that withdraws your agreement")
    async def likeness(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await answer(interaction, safety_cards.likenesses(await desk.services.likenesses.showing(desk.actor(interaction))))

    return group


async def forget(desk: Desk, interaction: Interaction, _subject: str) -> None:
    """Button "Forget me": whoever presses it is forgotten, nobody else."""
    leaving = await desk.services.privacy.request(desk.actor(interaction))
    await answer(interaction, cards.notice(words.forgetting(leaving.open_jobs)))
