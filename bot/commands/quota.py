"""`/quota`: plan, limits and storage, with a picture of the last days."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import discord
from discord import app_commands

from bot.commands.desk import Desk, answer
from bot.ui import admin_cards, charts
from engine.contracts.lora import LoraKind

DAYS = 14


def build(desk: Desk) -> app_commands.Command[Any, ..., Any]:
    """The command, bound to `desk`."""

    @app_commands.command(name="quota", description="Your plan, the units you have left and what they buy")
    @app_commands.allowed_installs(guilds=True, users=False)
    async def quota(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        services, actor = desk.services, desk.actor(interaction)
        standing = await services.plans.standing(actor.guild_id, actor.user_id)
        meters = await services.quotas.meters(actor)
        days = await services.quotas.history(actor, DAYS)
        spent = sum(day.spent for day in days)
        used = spent > 0 or any(day.held for day in days)
        picture = await asyncio.to_thread(charts.usage, days, meters[0].limit) if used else None
        card = admin_cards.quota(
            standing,
            meters,
            await services.freezing.storage(actor),
            services.settings.profile,
            services.settings.training_defaults(LoraKind.CHARACTER),
            chart=(DAYS, spent) if picture is not None else None,
            sku_id=desk.sku_above(standing.plan),
        )
        await answer(interaction, card, [discord.File(io.BytesIO(picture), admin_cards.CHART)] if picture is not None else [])

    return quota
