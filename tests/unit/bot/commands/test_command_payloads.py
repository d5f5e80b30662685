"""Tests of the commands as Discord gets them: its limits are checked nowhere else before `sync` fails (reference/discord.md A2)."""

from __future__ import annotations

from typing import Any, cast
from unittest.mock import MagicMock

import discord
import pytest
from discord import app_commands

from bot.commands.desk import Desk
from bot.commands.registry import build_commands
from bot.config import BotSettings
from bot.services.app import Services
from engine.contracts.bases import BASES
from engine.contracts.lora import LoraKind

ATTACHMENT = discord.AppCommandOptionType.attachment.value


def payloads(base: str = "tiny") -> dict[str, dict[str, Any]]:
    """Every command as sent to Discord."""
    services = cast("Services", MagicMock(settings=BotSettings(base=base)))  # built, never called
    client = discord.Client(intents=discord.Intents.none())
    tree = app_commands.CommandTree(client)
    commands = build_commands(Desk(services, cast("Any", None)))
    return {command.name: command.to_dict(tree) for command in commands if not isinstance(command, app_commands.ContextMenu)}


NAMES = [
    *("train", "generate", "storyboard", "loras", "cast", "jobs", "quota", "verify", "privacy", "settings", "admin"),
    *("report", "reports", "rules", "help"),
]


async def test_commands_are_those_of_the_product() -> None:
    """Every command, each once."""
    assert sorted(payloads()) == sorted(NAMES)


@pytest.mark.parametrize("base", sorted(BASES))
@pytest.mark.parametrize("name", NAMES)
async def test_command_keeps_discords_limits(name: str, base: str) -> None:
    """25 options, 25 choices, names, descriptions, required options first, 8,000 characters in all."""
    command = payloads(base)[name]
    options = command.get("options", [])
    assert len(options) <= 25
    required = [bool(option.get("required")) for option in options]
    assert required == sorted(required, reverse=True)
    total = len(command["name"]) + len(command["description"])
    for part in [command, *options]:
        assert 1 <= len(part["name"]) <= 32
        assert part["name"] == part["name"].lower()
        assert 1 <= len(part["description"]) <= 100
        assert part["description"] != "…", "an option without a description"
    for option in options:
        choices = option.get("choices", [])
        assert len(choices) <= 25
        assert not (choices and option.get("autocomplete"))
        total += len(option["name"]) + len(option["description"])
        for choice in choices:
            assert 1 <= len(choice["name"]) <= 100
            assert 1 <= len(str(choice["value"])) <= 100
            total += len(choice["name"]) + len(str(choice["value"]))
    assert total <= 8000


async def test_train_takes_ten_images_and_a_zip() -> None:
    """The options of issue A."""
    options = {option["name"]: option for option in payloads()["train"]["options"]}
    attachments = [name for name, option in options.items() if option["type"] == ATTACHMENT]
    assert attachments == [*(f"image{number}" for number in range(1, 11)), "zip"]
    assert [choice["value"] for choice in options["kind"]["choices"]] == list(LoraKind)
    assert [name for name, option in options.items() if option.get("required")] == ["name", "kind"]


@pytest.mark.parametrize("base", sorted(BASES))
async def test_generate_offers_the_shapes_of_the_base(base: str) -> None:
    """Every aspect of the base and no other."""
    options = {option["name"]: option for option in payloads(base)["generate"]["options"]}
    assert [choice["value"] for choice in options["aspect"]["choices"]] == list(BASES[base].geometry.aspects)
    assert options["loras"]["autocomplete"] is True
    sources = ["image", "fit", "guide", "control", "clip", "change", "strength"]
    assert list(options) == ["prompt", "loras", "negative", "seconds", "aspect", "seed", "quality", *sources, "mute"]


@pytest.mark.parametrize("name", NAMES)
async def test_command_is_installed_in_guilds_only(name: str) -> None:
    """In a user install the bot could not post the result."""
    assert payloads()[name]["integration_types"] == [0]


@pytest.mark.parametrize("name", ["train", "generate"])
async def test_command_that_posts_is_offered_in_guilds_only(name: str) -> None:
    """Results need a channel."""
    assert payloads()[name]["contexts"] == [0]
