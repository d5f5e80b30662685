"""`/jobs`, and the buttons that stop a job or take its result away."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import discord
from discord import app_commands

from bot.commands.desk import Desk, Interaction, answer
from bot.services.jobs import JobView
from bot.ui import cards, job_cards, text
from bot.ui.text import library as library_words
from engine.contracts.jobs import TrainLora
from engine.contracts.results import VideoRendered

_log = logging.getLogger(__name__)


def build(desk: Desk) -> app_commands.Command[Any, ..., Any]:
    """The command, bound to `desk`."""

    @app_commands.command(name="jobs", description="Your clips and trainings: place in line, progress, cancel")
    @app_commands.allowed_installs(guilds=True, users=False)
    async def jobs(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        found = await desk.services.jobs.mine(desk.actor(interaction), limit=job_cards.LISTED_JOBS)
        await answer(interaction, job_cards.jobs(found, await _links(desk, found)))

    return jobs


async def _links(desk: Desk, found: Sequence[JobView]) -> dict[str, str]:
    """Download links of clips that could not be posted where they were made: nothing is lost with its channel."""
    links = {}
    for record in (view.record for view in found):
        if (
            isinstance(record.result, VideoRendered)
            and not record.deleted
            and record.withheld is None
            and job_cards.message_url(record) is None
        ):
            links[record.job_id] = desk.services.files.link(record.result.file, f"{record.job_id}.mp4")
    return links


async def cancel(desk: Desk, interaction: Interaction, job_id: str) -> None:
    """Button "Cancel": at once while the job waits, after the current step while it runs."""
    view = await desk.services.jobs.cancel(job_id, desk.actor(interaction))
    desk.bell.set()
    await answer(interaction, cards.notice(text.cancelled(job_cards.title(view.record), over=view.record.status.terminal)))


async def delete(desk: Desk, interaction: Interaction, job_id: str) -> None:
    """Button "Delete": the message goes, and with it the clip in the store; a trained LoRA stays in the library."""
    record = (await desk.services.jobs.get(job_id)).record
    if record.result is not None:
        await desk.services.jobs.delete_result(job_id, desk.actor(interaction))
    message = interaction.message
    if message is not None:
        try:
            await message.delete()
        except (discord.NotFound, discord.Forbidden) as error:
            _log.info("message not deleted: %s", error, extra={"job_id": job_id})
    if isinstance(record.job, TrainLora) and record.result is not None:
        lora = await desk.services.loras.of_training(record.job.lora_id)
        await answer(interaction, cards.notice(library_words.message_gone(lora.name if lora is not None else record.job.name)))
    else:
        await answer(interaction, cards.notice(text.deleted(job_cards.title(record), kept=record.result is None)))


async def share(desk: Desk, interaction: Interaction, job_id: str) -> None:
    """Button "Share": the clip gets a page on the web."""
    address = await desk.services.shares.share(job_id, desk.actor(interaction))
    await answer(interaction, job_cards.shared(job_id, address))


async def unshare(desk: Desk, interaction: Interaction, job_id: str) -> None:
    """Button "Stop sharing"."""
    await desk.services.shares.unshare(job_id, desk.actor(interaction))
    await answer(interaction, cards.notice(text.UNSHARED()))
