"""`/admin`: what the people who manage a server do, and what only the operator may."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import discord
from discord import app_commands

from bot.commands.completion import offered
from bot.commands.desk import Desk, answer
from bot.commands.groups import managers_group
from bot.commands.safety import delete_messages
from bot.services.plans import Plan
from bot.services.shelf import MAX_CHOICE_CHARS
from bot.ui import admin_cards, cards, charts, job_cards, text
from bot.ui.format import plain
from bot.ui.text import admin as words
from bot.ui.text import safety as safety_words

PERIODS = [app_commands.Choice(name=f"{days} days", value=days) for days in (7, 30, 90)]
PLANS = [
    app_commands.Choice(name="premium", value=Plan.PREMIUM.value),
    app_commands.Choice(name="enterprise", value=Plan.ENTERPRISE.value),
    app_commands.Choice(name="free: take an earlier grant back", value=Plan.FREE.value),
]
REASON = "Why; the person is told"


def build(desk: Desk) -> app_commands.Group:
    """The commands, bound to `desk`."""
    group = managers_group("admin", "For people who manage this server")
    _people(desk, group)
    _jobs(desk, group)
    return group


def _people(desk: Desk, group: app_commands.Group) -> None:
    """Reports, plans, blocks."""

    @group.command(name="usage", description="What this server made and spent, day by day")
    @app_commands.describe(period="How far back")
    @app_commands.choices(period=PERIODS)
    async def usage(interaction: discord.Interaction, period: int = 30) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        assert interaction.guild_id is not None  # the gate refuses direct messages
        report = await desk.services.administration.usage(interaction.guild_id, period)
        limit = (await desk.services.servers.get(interaction.guild_id)).server_units
        files = []
        if report.jobs:
            picture = await asyncio.to_thread(charts.usage, report.days, limit)
            files.append(discord.File(io.BytesIO(picture), admin_cards.CHART))
        await answer(interaction, admin_cards.usage(report), files)

    @group.command(name="grant", description="Operator: give a person or this server a plan")
    @app_commands.describe(plan="Which one", member="Who gets it; this server if left out", days="How long; open-ended if left out")
    @app_commands.choices(plan=PLANS)
    async def grant(interaction: discord.Interaction, plan: str, member: discord.User | None = None, days: int | None = None) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        user_id = member.id if member is not None else None
        holding = await desk.services.administration.grant(desk.actor(interaction), Plan(plan), user_id=user_id, days=days)
        whom = words.person(user_id) if user_id is not None else words.THIS_SERVER()
        said = words.granted(whom, holding.plan, holding.ends_at) if holding is not None else words.grant_ended(whom)
        await answer(interaction, cards.notice(said))

    @group.command(name="block", description="Keep somebody from using me in this server")
    @app_commands.describe(member="Who", reason=REASON, everywhere="Operator: in every server")
    async def block(interaction: discord.Interaction, member: discord.User, reason: str = "", everywhere: bool = False) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await desk.services.administration.block(desk.actor(interaction), member.id, reason.strip(), everywhere=everywhere)
        await answer(interaction, cards.notice(words.blocked(member.id, everywhere=everywhere)))

    @group.command(name="unblock", description="Let somebody use me again")
    @app_commands.describe(member="Who", everywhere="Operator: take back a block for every server")
    async def unblock(interaction: discord.Interaction, member: discord.User, everywhere: bool = False) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await desk.services.administration.unblock(desk.actor(interaction), member.id, everywhere=everywhere)
        await answer(interaction, cards.notice(words.unblocked(member.id)))


def _jobs(desk: Desk, group: app_commands.Group) -> None:
    """What is done to somebody's job."""

    @group.command(name="refund", description="Give somebody the units of a job back")
    @app_commands.describe(job="Which one; type a name or a part of the prompt")
    async def refund(interaction: discord.Interaction, job: str) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        record, units = await desk.services.administration.refund(desk.actor(interaction), job)
        await answer(interaction, cards.notice(words.refunded(record.owner_id, units)))

    @group.command(name="cancel", description="Stop somebody's job")
    @app_commands.describe(job="Which one; type a name or a part of the prompt")
    async def cancel(interaction: discord.Interaction, job: str) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        view = await desk.services.administration.cancel(desk.actor(interaction), job)
        desk.bell.set()
        said = text.cancelled(job_cards.title(view.record), over=view.record.status.terminal)
        await answer(interaction, cards.notice(said))

    @group.command(name="takedown", description="Delete what a job made, and its message")
    @app_commands.describe(job="Which one; type a name or a part of the prompt", reason="Why, for the log")
    async def takedown(interaction: discord.Interaction, job: str, reason: str = "") -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        done = await desk.services.administration.take_down(desk.actor(interaction), job, reason.strip())
        await delete_messages(interaction, done)
        await answer(interaction, cards.notice(safety_words.taken_down(done.copies)))

    _complete_job(desk, refund, running=False)
    _complete_job(desk, cancel, running=True)
    _complete_job(desk, takedown, running=False)


def _complete_job(desk: Desk, command: app_commands.Command[Any, ..., Any], *, running: bool) -> None:
    @command.autocomplete("job")
    async def choices(interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        return await offered(_job_choices(desk, interaction, current, running=running), current)


async def _job_choices(desk: Desk, interaction: discord.Interaction, typed: str, *, running: bool) -> list[app_commands.Choice[str]]:
    found = await desk.services.administration.choices(desk.actor(interaction), typed, running=running)
    return [app_commands.Choice(name=plain(words.job_choice(record), MAX_CHOICE_CHARS), value=record.job_id) for record in found]
