"""`/train`: opens a data set with the files that came along, and the buttons and the form that make it grow and start it."""

from __future__ import annotations

import asyncio
import io
import logging
from dataclasses import replace
from typing import Any

import discord
from discord import app_commands

from bot import languages, media
from bot.commands.desk import Desk, Interaction, answer
from bot.commands.uploads import Upload, scratch_folder
from bot.errors import Refusal, RefusalCode
from bot.services.datasets import DatasetReport
from bot.services.likenesses import Likeness
from bot.ui import cards, dataset_cards, safety_cards
from bot.ui.language import speaking
from bot.ui.modals import AddFilesForm, CaptionsForm, form_values
from bot.ui.text import forms
from bot.ui.text import safety as safety_words
from engine.contracts.controls import ControlKind
from engine.contracts.lora import LoraKind

FILES_HINT = "PNG, JPEG, WebP, MP4, MOV or WebM"
KINDS = [
    app_commands.Choice(name="character: who appears", value=LoraKind.CHARACTER.value),
    app_commands.Choice(name="style: how it looks", value=LoraKind.STYLE.value),
    app_commands.Choice(name="motion: how it moves", value=LoraKind.MOTION.value),
    app_commands.Choice(name="effect: what happens", value=LoraKind.EFFECT.value),
]
CONTROLS = [app_commands.Choice(name=forms.CONTROLS[value], value=value.value) for value in ControlKind]
SHEET_NAME = "dataset.png"

_log = logging.getLogger(__name__)


def build(desk: Desk) -> app_commands.Command[Any, ..., Any]:
    """The command, bound to `desk`."""

    @app_commands.command(name="train", description="Teach a character, style, motion or effect from your pictures and clips")
    @app_commands.describe(
        name="2 to 16 small letters or digits, used in /generate loras:",
        kind="What the pictures have in common",
        trigger="Word that calls it in a prompt; the name if left out",
        control="Only for an effect: what guides it; edges if left out, video needs pairs (x, x_control)",
        person="A real person in the pictures: yourself, or somebody who is then asked; nobody if left out",
        archive="A zip with all pictures, and .txt captions if you have them",
        **{f"image{number}": FILES_HINT for number in range(1, 11)},
    )
    @app_commands.rename(archive="zip")
    @app_commands.choices(kind=KINDS, control=CONTROLS)
    @app_commands.guild_only()
    @app_commands.allowed_installs(guilds=True, users=False)
    async def train(
        interaction: discord.Interaction,
        name: str,
        kind: str,
        trigger: str | None = None,
        control: str | None = None,
        image1: discord.Attachment | None = None,
        image2: discord.Attachment | None = None,
        image3: discord.Attachment | None = None,
        image4: discord.Attachment | None = None,
        image5: discord.Attachment | None = None,
        image6: discord.Attachment | None = None,
        image7: discord.Attachment | None = None,
        image8: discord.Attachment | None = None,
        image9: discord.Attachment | None = None,
        image10: discord.Attachment | None = None,
        archive: discord.Attachment | None = None,
        person: discord.User | None = None,
    ) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        desk.place(interaction)
        given = [image1, image2, image3, image4, image5, image6, image7, image8, image9, image10, archive]
        uploads = [Upload.of(attachment) for attachment in given if attachment is not None]
        async with desk.received(uploads) as files:
            report = await desk.services.datasets.open(
                desk.actor(interaction),
                name=name.strip(),
                kind=LoraKind(kind),
                trigger=(trigger or name).strip(),
                files=files,
                control=ControlKind(control) if control is not None else None,
                person_id=person.id if person is not None else None,
            )
        await show(desk, interaction, await _described(desk, interaction, report))

    return train


async def _described(desk: Desk, interaction: Interaction, report: DatasetReport) -> DatasetReport:
    """`report` once somebody has been asked to describe what came without a caption."""
    if not await desk.services.captioning.ask(report.dataset.dataset_id):
        return report
    asked = await desk.services.datasets.report(report.dataset.dataset_id, desk.actor(interaction))
    return replace(asked, verdicts=report.verdicts)


async def show(desk: Desk, interaction: Interaction, report: DatasetReport) -> None:
    """The card of a data set with its picture; without the picture when that cannot be drawn."""
    sheet, thumbs = dataset_cards.sheet(report)
    if not sheet.tiles:
        await answer(interaction, dataset_cards.dataset(report))
        return
    settings = desk.services.settings
    try:
        async with scratch_folder(settings.scratch_dir) as folder:
            drawn = await media.draw_sheet(sheet, thumbs, folder, timeout_s=settings.media_check_timeout_s)
            picture = await asyncio.to_thread(drawn.read_bytes)
    except media.MediaError as error:
        _log.warning("no picture of the data set: %s", error)
        await answer(interaction, dataset_cards.dataset(report))
        return
    await answer(interaction, dataset_cards.dataset(report, picture=SHEET_NAME), [discord.File(io.BytesIO(picture), SHEET_NAME)])


async def back(desk: Desk, interaction: Interaction, dataset_id: str) -> None:
    """Button "Back": from the captions to the card."""
    await show(desk, interaction, await desk.services.datasets.report(dataset_id, desk.actor(interaction)))


async def captions(desk: Desk, interaction: Interaction, subject: str) -> None:
    """Button "Captions", and the ones that turn its pages."""
    dataset_id, page = _page(subject)
    report = await desk.services.datasets.report(dataset_id, desk.actor(interaction))
    await answer(interaction, dataset_cards.captions(report, min(page, dataset_cards.caption_pages(report) - 1)))


async def open_captions(desk: Desk, interaction: Interaction, subject: str) -> None:
    """Button "Edit these": the form must be the first answer, so nothing is deferred before it."""
    dataset_id, page = _page(subject)
    report = await desk.services.datasets.report(dataset_id, desk.actor(interaction))
    items = dataset_cards.page_items(report, page)
    if not items:
        raise Refusal(RefusalCode.DATASET_CLOSED, state=report.dataset.state)
    await interaction.response.send_modal(CaptionsForm(dataset_id, page, report.dataset.name, items))


async def write_captions(desk: Desk, interaction: Interaction, subject: str) -> None:
    """Submit of that form. The page it came from is updated in place."""
    await interaction.response.defer()
    dataset_id, page = _page(subject)
    report = await desk.services.datasets.caption(dataset_id, desk.actor(interaction), form_values(dict(interaction.data or {})))
    await answer(interaction, dataset_cards.captions(report, min(page, dataset_cards.caption_pages(report) - 1)))


def _page(subject: str) -> tuple[str, int]:
    """Data set and page of a button's or form's subject."""
    dataset_id, _, page = subject.partition(".")
    return dataset_id, int(page or 0)


async def open_form(desk: Desk, interaction: Interaction, dataset_id: str) -> None:
    """Button "Add pictures": the form must be the first answer, so nothing is deferred before it."""
    data = await desk.services.datasets.get(dataset_id, desk.actor(interaction))
    await interaction.response.send_modal(AddFilesForm(dataset_id, data.name))


async def add_files(desk: Desk, interaction: Interaction, dataset_id: str) -> None:
    """Submit of that form. The card it came from is updated in place."""
    await interaction.response.defer()
    uploads = submitted_files(interaction)
    if not uploads:
        raise Refusal(RefusalCode.NO_ATTACHMENT)
    async with desk.received(uploads) as files:
        report = await desk.services.datasets.add(dataset_id, desk.actor(interaction), files)
    await show(desk, interaction, await _described(desk, interaction, report))


def submitted_files(interaction: Interaction) -> list[Upload]:
    """The files of a modal submit in the order of the upload field, read from the payload itself."""
    data: dict[str, Any] = dict(interaction.data or {})
    resolved = data.get("resolved", {}).get("attachments", {})
    fields = (row.get("component", {}) for row in data.get("components", ()))
    chosen = [value for field in fields for value in field.get("values", ())]
    return [Upload.from_payload(resolved[value]) for value in chosen if value in resolved]


async def start(desk: Desk, interaction: Interaction, dataset_id: str) -> None:
    """Button "Start training": the data set's card becomes the receipt."""
    actor = desk.actor(interaction)
    if (question := await desk.services.likenesses.question(dataset_id)) is not None:
        await _ask(desk, interaction, question)
        return
    submitted = await desk.services.jobs.submit_training(dataset_id, actor, desk.place(interaction), interaction.id)
    await desk.services.captioning.forget(dataset_id)
    await desk.confirm(interaction, submitted, actor)


async def _ask(desk: Desk, interaction: Interaction, question: Likeness) -> None:
    """Ask a person in public whether a LoRA may show them; the data set's card stays, to be started when they have agreed."""
    desk.place(interaction)
    channel = interaction.client.get_partial_messageable(interaction.channel_id or 0, guild_id=interaction.guild_id)
    asked = discord.AllowedMentions(everyone=False, roles=False, users=[discord.Object(question.person_id)])
    with speaking(await languages.of_place(desk.services.servers, interaction.client, interaction.guild_id)):
        await channel.send(view=safety_cards.question(question), allowed_mentions=asked)
    await desk.services.likenesses.asked(question.dataset_id)
    notice = cards.notice(safety_words.likeness_asked(question.person_id))
    await interaction.followup.send(view=notice, ephemeral=True, allowed_mentions=discord.AllowedMentions.none())


async def discard(desk: Desk, interaction: Interaction, dataset_id: str) -> None:
    """Button "Discard"."""
    actor = desk.actor(interaction)
    data = await desk.services.datasets.get(dataset_id, actor)
    await desk.services.captioning.forget(dataset_id)
    await desk.services.datasets.discard(dataset_id, actor)
    await answer(interaction, dataset_cards.dataset_dropped(data))
