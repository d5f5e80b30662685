"""Autocomplete of LoRA names and lists, the same for every command that takes them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import discord
from discord import app_commands

from bot.commands.desk import Desk
from bot.services.shelf import MAX_CHOICE_CHARS, MAX_CHOICES, Choice
from bot.services.values import Actor
from bot.ui import text
from bot.ui.text import library as words

_log = logging.getLogger(__name__)

Source = Callable[[str, Actor], Awaitable[list[Choice]]]


def complete_stack(desk: Desk, command: app_commands.Command[Any, ..., Any], option: str) -> None:
    """Complete a comma list of LoRAs with weights."""
    _complete(desk, command, option, lambda typed, actor: desk.services.loras.complete(typed, actor))


def complete_lora_name(desk: Desk, command: app_commands.Command[Any, ..., Any], option: str) -> None:
    """Complete the name of one LoRA."""
    _complete(desk, command, option, lambda typed, actor: desk.services.loras.complete_name(typed, actor))


def _complete(desk: Desk, command: app_commands.Command[Any, ..., Any], option: str, source: Source) -> None:
    @command.autocomplete(option)
    async def choices(interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        return await offered(_loras(desk, interaction, current, source), current)


async def _loras(desk: Desk, interaction: discord.Interaction, typed: str, source: Source) -> list[app_commands.Choice[str]]:
    fitting = [choice for choice in await source(typed, desk.actor(interaction)) if 0 < len(choice.value) <= MAX_CHOICE_CHARS]
    return [
        app_commands.Choice(name=words.choice(choice.value, choice.kind, MAX_CHOICE_CHARS), value=choice.value)
        for choice in fitting[:MAX_CHOICES]
    ]


async def offered(choices: Awaitable[list[app_commands.Choice[str]]], typed: str) -> list[app_commands.Choice[str]]:
    """`choices`, or one that says that there are none right now: the library would log the error and leave the person with a spinner."""
    try:
        return await choices
    except Exception:  # noqa: BLE001 - see above
        _log.exception("autocomplete failed")
        return [app_commands.Choice(name=text.AUTOCOMPLETE_BROKEN(), value=typed[:MAX_CHOICE_CHARS] or " ")]
