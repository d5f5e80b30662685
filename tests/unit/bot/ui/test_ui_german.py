"""Every string Discord shows of a command exists in German."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast
from unittest.mock import MagicMock

import discord
from discord import app_commands

from bot.commands.desk import Desk
from bot.commands.registry import build_commands
from bot.config import BotSettings
from bot.ui.text.german import GERMAN
from bot.ui.translator import Translator, german


def shown() -> Iterator[str]:
    """Descriptions and choices of every command."""
    services = MagicMock(settings=BotSettings())
    for command in build_commands(Desk(cast("Any", services), cast("Any", None))):
        leaves = [command, *command.walk_commands()] if isinstance(command, app_commands.Group) else [command]
        for leaf in leaves:
            if isinstance(leaf, app_commands.ContextMenu):
                continue
            yield str(leaf.description)
            if isinstance(leaf, app_commands.Command):
                for option in leaf.parameters:
                    yield str(option.description)
                    yield from (str(choice.name) for choice in option.choices)


def test_every_string_of_every_command_has_german_and_no_german_is_left_over() -> None:
    """Nothing missing, nothing dead; shapes such as 16:9 have no words."""
    texts = {text for text in shown() if re.search(r"[A-Za-z]", text)}
    assert sorted(text for text in texts if german(text) is None) == []
    stems = texts | {re.sub(r" [0-9]+(\.[0-9]+)?$", "", text) for text in texts}
    assert sorted(set(GERMAN) - stems) == []


def test_german_keeps_discords_limits() -> None:
    """100 characters for a description or a choice."""
    assert [text for text in shown() if len(german(text) or "") > 100] == []


async def test_commands_carry_german_on_the_wire_and_keep_their_names() -> None:
    """`description_localizations` has German; no name is translated."""
    client = discord.Client(intents=discord.Intents.none())
    tree = app_commands.CommandTree(client)
    services = MagicMock(settings=BotSettings())
    command = next(each for each in build_commands(Desk(cast("Any", services), cast("Any", None))) if each.name == "jobs")
    payload = await command.get_translated_payload(tree, Translator())
    assert payload["description_localizations"] == {"de": GERMAN["Your clips and trainings: place in line, progress, cancel"]}
    assert not payload.get("name_localizations")
