"""`/generate`, and the buttons that make a clip from a clip."""

from __future__ import annotations

import logging
import math
from typing import Any

import discord
from discord import app_commands

from bot.commands.completion import complete_stack
from bot.commands.desk import Desk, Interaction
from bot.commands.uploads import Upload
from bot.services.clip_requests import Change, GenerationRequest
from bot.ui import text
from bot.ui.text import forms, results
from engine.contracts.controls import ControlKind
from engine.contracts.generation import Fit, Quality
from engine.contracts.jobs import GenerateVideo

_log = logging.getLogger(__name__)

QUALITIES = [app_commands.Choice(name=forms.QUALITIES[value], value=value.value) for value in Quality]
FITS = [app_commands.Choice(name=forms.FITS[value], value=value.value) for value in Fit]
CONTROLS = [app_commands.Choice(name=forms.CONTROLS[value], value=value.value) for value in ControlKind]
CHANGES = [app_commands.Choice(name=forms.CHANGES[value], value=value.value) for value in Change]


def build(desk: Desk) -> app_commands.Command[Any, ..., Any]:
    """The command, bound to `desk`; shapes are those of the installed base."""
    settings = desk.services.settings
    aspects = [app_commands.Choice(name=aspect, value=aspect) for aspect in settings.profile.geometry.aspects]

    @app_commands.command(name="generate", description="Make a video from a prompt, with the LoRAs you choose")
    @app_commands.describe(
        prompt="What happens in the clip",
        loras="Names with optional weights, such as hero:0.9, watercolour",
        negative="What should not be in it",
        seconds=f"Length of the clip, up to {settings.max_video_seconds:g}",
        aspect="Shape of the picture",
        seed="Same seed and settings, same clip",
        quality="How long it may take",
        image="A picture the clip begins with",
        fit="What happens to a picture or video of another shape",
        guide="A video that an effect LoRA follows",
        control="What the effect takes from the guide",
        clip="A video to change",
        change="What becomes of that video; restyle when left out",
        strength="How much a restyle changes, from 0.1 to 1",
        mute="No sound",
    )
    @app_commands.choices(aspect=aspects, quality=QUALITIES, fit=FITS, control=CONTROLS, change=CHANGES)
    @app_commands.guild_only()
    @app_commands.allowed_installs(guilds=True, users=False)
    async def generate(
        interaction: discord.Interaction,
        prompt: str,
        loras: str | None = None,
        negative: str | None = None,
        seconds: float | None = None,
        aspect: str | None = None,
        seed: int | None = None,
        quality: str | None = None,
        image: discord.Attachment | None = None,
        fit: str | None = None,
        guide: discord.Attachment | None = None,
        control: str | None = None,
        clip: discord.Attachment | None = None,
        change: str | None = None,
        strength: float | None = None,
        mute: bool = False,
    ) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        actor = desk.actor(interaction)
        place = desk.place(interaction)
        given = {name: file for name, file in (("image", image), ("guide", guide), ("clip", clip)) if file is not None}
        async with desk.received([Upload.of(file) for file in given.values()]) as files:
            request = GenerationRequest(
                actor=actor,
                place=place,
                interaction_id=interaction.id,
                prompt=prompt,
                loras=loras or "",
                negative=negative or "",
                seconds=seconds,
                aspect=aspect,
                seed=seed,
                quality=Quality(quality) if quality else None,
                fit=Fit(fit or Fit.CROP),
                control=ControlKind(control) if control else None,
                change=Change(change) if change else None,
                strength=strength,
                mute=mute,
                **dict(zip(given, files, strict=True)),
            )
            submitted = await desk.services.clips.submit(request)
        await desk.confirm(interaction, submitted, actor)

    complete_stack(desk, generate, "loras")

    @generate.autocomplete("seconds")
    async def lengths(interaction: discord.Interaction, current: str) -> list[app_commands.Choice[float]]:
        return await priced_lengths(desk, interaction, current)

    return generate


async def priced_lengths(desk: Desk, interaction: Interaction, typed: str) -> list[app_commands.Choice[float]]:
    """Lengths with their prices, so that a price is seen before anything is sent; what was typed is never taken away."""
    given = interaction.namespace
    quality = getattr(given, "quality", None)
    try:
        offered = await desk.services.clips.lengths(
            desk.actor(interaction), getattr(given, "aspect", None), Quality(quality) if quality in list(Quality) else None
        )
    except Exception:  # noqa: BLE001 - the library would log it and leave the person with a spinner
        _log.exception("autocomplete failed")
        return []
    try:
        wanted = "" if math.isnan(float(typed)) else f"{float(typed):g}"  # nan stands for nothing typed yet
    except ValueError:
        wanted = ""
    fitting = [length for length in offered if f"{length.seconds:g}".startswith(wanted)] or offered
    return [app_commands.Choice(name=results.length_choice(length.seconds, length.units), value=length.seconds) for length in fitting]


async def again(desk: Desk, interaction: Interaction, job_id: str) -> None:
    """Button "Again": the same request with a new seed."""
    actor = desk.actor(interaction)
    submitted = await desk.services.clips.again(job_id, actor, desk.place(interaction), interaction.id)
    await desk.confirm(interaction, submitted, actor, text.again_note(_clip(submitted.view.record.job).seed))


async def vary(desk: Desk, interaction: Interaction, job_id: str) -> None:
    """Button "Vary": a relative of the clip."""
    actor = desk.actor(interaction)
    submitted = await desk.services.clips.vary(job_id, actor, desk.place(interaction), interaction.id)
    job = _clip(submitted.view.record.job)
    note = text.again_note(job.seed) if job.vary is None else text.vary_note(job.seed, job.vary.seed, job.vary.strength)
    await desk.confirm(interaction, submitted, actor, note)


async def extend(desk: Desk, interaction: Interaction, job_id: str) -> None:
    """Button "Extend": go on from the clip's last frames."""
    actor = desk.actor(interaction)
    submitted = await desk.services.clips.extend(job_id, actor, desk.place(interaction), interaction.id)
    await desk.confirm(interaction, submitted, actor, text.EXTEND_NOTE())


async def upscale(desk: Desk, interaction: Interaction, job_id: str) -> None:
    """Button "Upscale": the clip at twice the size."""
    actor = desk.actor(interaction)
    submitted = await desk.services.clips.upscale(job_id, actor, desk.place(interaction), interaction.id)
    await desk.confirm(interaction, submitted, actor, text.UPSCALE_NOTE())


async def animate(desk: Desk, interaction: Interaction, job_id: str) -> None:
    """Button "Animate" on the still of a training."""
    actor = desk.actor(interaction)
    submitted = await desk.services.clips.animate(job_id, actor, desk.place(interaction), interaction.id)
    await desk.confirm(interaction, submitted, actor, text.ANIMATE_NOTE())


def _clip(job: object) -> GenerateVideo:
    assert isinstance(job, GenerateVideo)
    return job
