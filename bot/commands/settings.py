"""`/settings`: what the people who manage a server set there. Every answer is the whole card, so that nobody wonders what holds now."""

from __future__ import annotations

from typing import Any

import discord
from discord import app_commands

from bot.commands.completion import complete_stack
from bot.commands.desk import Desk, Interaction, answer
from bot.commands.generate import QUALITIES
from bot.commands.groups import managers_group
from bot.errors import Refusal, RefusalCode
from bot.services.loras import parse_stack
from bot.services.servers import ContentLevel, Limits, QuotaWindow, ServerSettings
from bot.ui import admin_cards
from bot.ui.language import LANGUAGES as LANGUAGE_NAMES
from bot.ui.text import admin as words
from engine.contracts.generation import Quality

CONTENT = [app_commands.Choice(name=said, value=level.value) for level, said in words.CONTENT_WORDS.items()]
WINDOWS = [app_commands.Choice(name=window.value, value=window.value) for window in QuotaWindow]
OWN_LANGUAGE = "own"
LANGUAGES = [
    app_commands.Choice(name="each reader's own", value=OWN_LANGUAGE),
    *(app_commands.Choice(name=name, value=code) for code, name in LANGUAGE_NAMES.items()),
]
ALLOWED = [app_commands.Choice(name="allow", value=1), app_commands.Choice(name="take off the list", value=0)]


class _TextPlaces(app_commands.Transformer):
    """A channel with messages, by its id alone: the library's own converters ask their cache, or offer kinds that have none."""

    @property
    def type(self) -> discord.AppCommandOptionType:
        """A channel option."""
        return discord.AppCommandOptionType.channel

    @property
    def channel_types(self) -> list[discord.ChannelType]:
        """What Discord offers for it."""
        return [discord.ChannelType.text, discord.ChannelType.news]

    async def transform(self, _interaction: Interaction, value: Any, /) -> app_commands.AppCommandChannel:
        """As it comes."""
        chosen: app_commands.AppCommandChannel = value
        return chosen


TextPlace = app_commands.Transform[app_commands.AppCommandChannel, _TextPlaces]


def build(desk: Desk) -> app_commands.Group:
    """The commands, bound to `desk`."""
    group = managers_group("settings", "How I work in this server")
    _places(desk, group)
    _limits(desk, group)
    _rest(desk, group)
    return group


def _places(desk: Desk, group: app_commands.Group) -> None:
    """Where and for whom."""
    servers = desk.services.servers

    @group.command(name="show", description="Everything that is set here")
    async def show(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await answer(interaction, admin_cards.settings(await servers.get(_guild(interaction))))

    @group.command(name="channels", description="Where my commands work; with an empty list everywhere")
    @app_commands.describe(channel="Which channel; its threads go along", list="Allow it, or take it off the list")
    @app_commands.choices(list=ALLOWED)
    async def channels(interaction: discord.Interaction, channel: TextPlace, list: int = 1) -> None:  # noqa: A002 - the option's name
        await interaction.response.defer(ephemeral=True, thinking=True)
        current = await servers.allow_channel(_guild(interaction), channel.id, allowed=bool(list))
        await _changed(desk, interaction, current, words.CHANGED_CHANNELS)

    @group.command(name="roles", description="Who may use me; with an empty list everybody")
    @app_commands.describe(role="Which role", list="Allow it, or take it off the list")
    @app_commands.choices(list=ALLOWED)
    async def roles(interaction: discord.Interaction, role: discord.Role, list: int = 1) -> None:  # noqa: A002 - the option's name
        await interaction.response.defer(ephemeral=True, thinking=True)
        current = await servers.allow_role(_guild(interaction), role.id, allowed=bool(list))
        await _changed(desk, interaction, current, words.CHANGED_ROLES)


def _limits(desk: Desk, group: app_commands.Group) -> None:
    """How much."""
    servers = desk.services.servers

    @group.command(name="limits", description="What one person may use, or one with a certain role; no options: no limits")
    @app_commands.describe(
        units="Units per day, week or month", running="Jobs at once", waiting="Jobs in line", role="Only people with this role"
    )
    async def limits(
        interaction: discord.Interaction,
        units: int | None = None,
        running: int | None = None,
        waiting: int | None = None,
        role: discord.Role | None = None,
    ) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        given = Limits(units, running, waiting)
        guild_id = _guild(interaction)
        current = await (servers.change(guild_id, limits=given) if role is None else servers.limit_role(guild_id, role.id, given))
        await _changed(desk, interaction, current, words.CHANGED_LIMITS)

    @group.command(name="server", description="What everybody together may use; no units: no limit")
    @app_commands.describe(units="Units for everybody together", window="How long units have to last, each person's too")
    @app_commands.choices(window=WINDOWS)
    async def server(interaction: discord.Interaction, units: int | None = None, window: str = QuotaWindow.DAY.value) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        current = await servers.change(_guild(interaction), server_units=units, window=QuotaWindow(window))
        await _changed(desk, interaction, current, words.CHANGED_LIMITS)


def _rest(desk: Desk, group: app_commands.Group) -> None:
    """Defaults, content, language, log."""
    servers = desk.services.servers

    @group.command(name="defaults", description="What a clip is made with when nothing else is said; no options: nothing special")
    @app_commands.describe(loras="Names with optional weights, such as watercolour:0.6", quality="How long a clip may take")
    @app_commands.choices(quality=QUALITIES)
    async def defaults(interaction: discord.Interaction, loras: str = "", quality: str = Quality.BEST.value) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        stack = parse_stack(loras)
        await desk.services.loras.resolve(stack, desk.actor(interaction), desk.services.settings.profile.lora_base)
        typed = ", ".join(f"{entry.name}:{entry.weight:g}" if entry.weighed else entry.name for entry in stack)
        current = await servers.change(_guild(interaction), default_loras=typed, default_quality=Quality(quality))
        await _changed(desk, interaction, current, words.CHANGED_DEFAULTS)

    complete_stack(desk, defaults, "loras")

    @group.command(name="content", description="What pictures are accepted here")
    @app_commands.describe(level="Discord's age restriction of a channel can be kept, or overruled")
    @app_commands.choices(level=CONTENT)
    async def content(interaction: discord.Interaction, level: str) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        current = await servers.change(_guild(interaction), content_level=ContentLevel(level))
        await _changed(desk, interaction, current, words.CHANGED_CONTENT)

    @group.command(name="language", description="The language I answer in here")
    @app_commands.describe(language="Which one")
    @app_commands.choices(language=LANGUAGES)
    async def language(interaction: discord.Interaction, language: str) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        current = await servers.change(_guild(interaction), language=None if language == OWN_LANGUAGE else language)
        await desk.tune(interaction)  # the answer to this is the first in it
        await _changed(desk, interaction, current, words.CHANGED_LANGUAGE)

    @group.command(name="log", description="Where I write down what admins do; no channel: nowhere")
    @app_commands.describe(channel="Which channel")
    async def log(interaction: discord.Interaction, channel: TextPlace | None = None) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        current = await servers.change(_guild(interaction), log_channel_id=channel.id if channel is not None else None)
        await _changed(desk, interaction, current, words.CHANGED_LOG)


async def _changed(desk: Desk, interaction: Interaction, current: ServerSettings, what: str) -> None:
    await desk.services.administration.settings_changed(desk.actor(interaction), what)
    await answer(interaction, admin_cards.settings(current, words.changed(what)))


def _guild(interaction: Interaction) -> int:
    if interaction.guild_id is None:
        raise Refusal(RefusalCode.NOT_IN_GUILD)
    return interaction.guild_id
