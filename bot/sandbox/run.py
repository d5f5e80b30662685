"""One run: loopback Discord, Valkey, worker and bot up; scenario played; transcript written; everything down again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from bot.sandbox.player import Played, Player
from bot.sandbox.processes import Stack
from bot.sandbox.records import Records
from bot.sandbox.scenario import GuildPart, Scenario
from bot.sandbox.server import GuildSpec, LoopbackDiscord, Settings
from bot.sandbox.transcript import Transcript


async def run_scenario(scenario: Scenario, folder: Path, console: Console) -> list[str]:
    """Play `scenario` and leave everything in `folder` (absolute, with an empty `run/`); one line per failure.

    Raises:
        SandboxError: the processes could not be started.
        TimeoutError: they were not ready in time.
    """
    state = folder / "run"
    offset_file = state / "clock-offset"
    spec = _spec(scenario.guild)
    began = time.monotonic()
    async with LoopbackDiscord(spec, settings=Settings(rate_limits=scenario.rate_limits), offset_file=offset_file) as discord:
        _people(discord, scenario)
        async with Stack(discord, state, offset_file, scenario.settings | _sold(discord, scenario)) as stack:
            player = Player(scenario, discord, stack, state / "rendered")
            try:
                await _start(stack, player, console)
                await _play(player, console)
            finally:
                # written even when something broke, so that there is something to look at
                records = Records(stack.database)
                transcript = Transcript(discord, records, folder)
                title = scenario.title or spec.name
                data = await asyncio.to_thread(transcript.write, player.played, title=title, store=stack.store)
        failures = player.failures + [f"violation: {v}" for v in discord.violations]
    page = folder / "transcript.html"
    videos = sum(1 for m in data["messages"] for a in m["attachments"] if a["content_type"].startswith("video/"))
    console.print(
        f"\n[bold]{len(data['messages'])}[/] messages, [bold]{videos}[/] clips, [bold]{len(data['jobs'])}[/] jobs in "
        f"{time.monotonic() - began:.0f} s → [link={page.as_uri()}]{escape(str(page))}[/]"
    )
    return failures


def _spec(part: GuildPart) -> GuildSpec:
    return GuildSpec(part.name, part.premium_tier, part.file_limit, tuple(channel.name for channel in part.channels), part.locale)


def _people(discord: LoopbackDiscord, scenario: Scenario) -> None:
    guilds = {scenario.guild.name: discord.guild}
    for other in scenario.other_guilds:
        guilds[other.name] = discord.add_guild(_spec(other))
    for channel in [channel for guild in (scenario.guild, *scenario.other_guilds) for channel in guild.channels]:
        if channel.deny:
            discord.deny(channel.name, *channel.deny)
    for name, part in scenario.people.items():
        guild = guilds[part.guild or scenario.guild.name]
        account = discord.user(name, guild).account
        account.accepts_dms, account.locale = part.accepts_dms, part.locale
        if part.permissions:
            discord.give_role(name, f"{name}'s role", part.permissions, guild)
        for role in part.roles:
            discord.give_role(name, role, (), guild)


def _sold(discord: LoopbackDiscord, scenario: Scenario) -> dict[str, str]:
    """Settings that follow from what is sold and who runs the bot: their ids are made by this Discord."""
    operators = [str(discord.user(name).account.id) for name, part in scenario.people.items() if part.operator]
    ids = {
        plan: [str(discord.sku(name).id) for name, grants in scenario.skus.items() if grants == plan] for plan in ("premium", "enterprise")
    }
    given = {"operators": operators, "premium_skus": ids["premium"], "enterprise_skus": ids["enterprise"]}
    return {setting: ",".join(values) for setting, values in given.items() if values}


async def _start(stack: Stack, player: Player, console: Console) -> None:
    with console.status("starting Valkey, worker and bot"):
        await asyncio.gather(stack.start(), player.prepare())
    console.print(f"[green]●[/] worker and bot are ready [dim](logs in {escape(str(stack.logs))})[/]")


async def _play(player: Player, console: Console) -> None:
    status = console.status("")

    def before(title: str) -> None:
        status.update(escape(title))
        status.start()

    def after(played: Played) -> None:
        status.stop()
        if played.note:
            console.print(f"\n[bold]{escape(played.note)}[/]")
        mark = "[green]✓[/]" if played.failure is None else "[red]✗[/]"
        console.print(f"{mark} [cyan]{played.seconds:6.1f} s[/]  {escape(played.title)}")
        outcome = played.result if played.failure is None else played.failure
        if outcome:
            console.print(f"             [{'dim' if played.failure is None else 'red'}]{escape(outcome)}[/]")

    try:
        await player.play(before, after)
    finally:
        status.stop()
