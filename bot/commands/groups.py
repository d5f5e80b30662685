"""Command groups that several modules build alike."""

from __future__ import annotations

import discord
from discord import app_commands


def managers_group(name: str, description: str) -> app_commands.Group:
    """A group that Discord shows in servers only, and there to those who manage the server; the gate asks again."""
    return app_commands.Group(
        name=name,
        description=description,
        guild_only=True,
        default_permissions=discord.Permissions(manage_guild=True),
        allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
    )
