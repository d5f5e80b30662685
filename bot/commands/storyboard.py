"""`/storyboard`: several scenes, one cast, one film."""

from __future__ import annotations

from typing import Any

import discord
from discord import app_commands

from bot.commands.completion import complete_stack
from bot.commands.desk import Desk
from bot.commands.generate import QUALITIES
from bot.services.clip_requests import StoryboardRequest
from engine.contracts.generation import MAX_SCENES, Quality

SCENES = {f"scene{number}": f"What happens in scene {number}" for number in range(1, MAX_SCENES + 1)}


def build(desk: Desk) -> app_commands.Command[Any, ..., Any]:
    """The command, bound to `desk`."""
    settings = desk.services.settings
    aspects = [app_commands.Choice(name=aspect, value=aspect) for aspect in settings.profile.geometry.aspects]

    @app_commands.command(name="storyboard", description="Film two to eight scenes with the same LoRAs, cut to one film")
    @app_commands.describe(
        **SCENES | {"scene1": "What happens in scene 1; pasted lines are scenes of their own"},
        loras="Names with optional weights, such as hero:0.9, watercolour",
        seconds=f"Length of one scene, up to {settings.max_video_seconds:g}",
        aspect="Shape of the picture",
        negative="What should not be in it",
        seed="Same seed and settings, same film",
        quality="How long it may take",
        mute="No sound",
    )
    @app_commands.choices(aspect=aspects, quality=QUALITIES)
    @app_commands.guild_only()
    @app_commands.allowed_installs(guilds=True, users=False)
    async def storyboard(
        interaction: discord.Interaction,
        scene1: str,
        scene2: str | None = None,
        scene3: str | None = None,
        scene4: str | None = None,
        scene5: str | None = None,
        scene6: str | None = None,
        scene7: str | None = None,
        scene8: str | None = None,
        loras: str | None = None,
        seconds: float | None = None,
        aspect: str | None = None,
        negative: str | None = None,
        seed: int | None = None,
        quality: str | None = None,
        mute: bool = False,
    ) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        actor = desk.actor(interaction)
        given = [scene1, scene2, scene3, scene4, scene5, scene6, scene7, scene8]
        request = StoryboardRequest(
            actor=actor,
            place=desk.place(interaction),
            interaction_id=interaction.id,
            scenes=tuple(line for scene in given if scene for line in scene.splitlines()),
            loras=loras or "",
            negative=negative or "",
            seconds=seconds,
            aspect=aspect,
            seed=seed,
            quality=Quality(quality or Quality.BEST),
            mute=mute,
        )
        submitted = await desk.services.clips.storyboard(request)
        await desk.confirm(interaction, submitted, actor)

    complete_stack(desk, storyboard, "loras")
    return storyboard
