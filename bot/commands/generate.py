"""`/generate`, and the buttons that make a clip again."""

from __future__ import annotations

from typing import Any

import discord
from discord import app_commands

from bot.commands.completion import complete_stack
from bot.commands.desk import Desk, Interaction
from bot.commands.uploads import Upload
from bot.errors import Refusal, RefusalCode
from bot.services.jobs import GenerationRequest
from bot.ui import text
from engine.contracts.jobs import MAX_SEED, GenerateVideo

FAMILY_LOOKBACK = 50


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
        image="A picture the clip begins with",
    )
    @app_commands.choices(aspect=aspects)
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
        image: discord.Attachment | None = None,
    ) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        actor = desk.actor(interaction)
        place = desk.place(interaction)
        async with desk.received([Upload.of(image)] if image is not None else []) as files:
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
                image=files[0] if files else None,
            )
            submitted = await desk.services.jobs.submit_generation(request)
        await desk.confirm(interaction, submitted, actor)

    complete_stack(desk, generate, "loras")
    return generate


async def again(desk: Desk, interaction: Interaction, job_id: str) -> None:
    """Button "Again": the same request with a new seed."""
    actor = desk.actor(interaction)
    submitted = await desk.services.jobs.repeat(job_id, actor, desk.place(interaction), interaction.id)
    await desk.confirm(interaction, submitted, actor, text.again_note(_seed_of(submitted.view.record.job)))


async def vary(desk: Desk, interaction: Interaction, job_id: str) -> None:
    """Button "Vary": the same request with the next seed of the clip's family that this person has not seen."""
    actor = desk.actor(interaction)
    place = desk.place(interaction)
    origin = (await desk.services.jobs.get(job_id)).record.job
    if not isinstance(origin, GenerateVideo):
        raise Refusal(RefusalCode.JOB_NOT_REPEATABLE)
    recent = await desk.services.jobs.mine(actor, limit=FAMILY_LOOKBACK)
    seen = {view.record.job.seed for view in recent if _same_request(view.record.job, origin)}
    seed = next_seed(origin.seed, seen)
    submitted = await desk.services.jobs.repeat(job_id, actor, place, interaction.id, seed=seed)
    await desk.confirm(interaction, submitted, actor, text.vary_note(_seed_of(submitted.view.record.job), origin.seed))


def next_seed(seed: int, seen: set[int]) -> int:
    """The smallest seed after `seed` (wrapping round) that is not in `seen`."""
    candidate = (seed + 1) % (MAX_SEED + 1)
    while candidate in seen and candidate != seed:
        candidate = (candidate + 1) % (MAX_SEED + 1)
    return candidate


def _same_request(job: object, origin: GenerateVideo) -> bool:
    return isinstance(job, GenerateVideo) and job.prompt == origin.prompt and job.adapters == origin.adapters


def _seed_of(job: object) -> int:
    return job.seed if isinstance(job, GenerateVideo) else 0
