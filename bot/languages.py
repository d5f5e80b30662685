"""In which language somebody is answered, and in which a place is written to."""

from __future__ import annotations

from typing import Any

import discord

from bot.services.servers import Servers
from bot.ui.language import chosen


async def of_reader(servers: Servers, interaction: discord.Interaction[Any]) -> str:
    """The server's language; where it has none, that of the asker's client."""
    settings = await servers.get(interaction.guild_id)
    return chosen(settings.language, str(interaction.locale))


async def of_place(servers: Servers, client: discord.Client, guild_id: int | None) -> str:
    """The language of what everybody in a server reads: its own; where none is set, the one it has in Discord."""
    settings = await servers.get(guild_id)
    guild = client.get_guild(guild_id) if guild_id is not None else None
    return chosen(settings.language, str(guild.preferred_locale) if guild is not None else None)
