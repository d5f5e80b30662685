"""Apps → "Make a clip of this" on any message: its picture begins a clip, its clip is changed or followed."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import discord
from discord import app_commands
from ulid import ULID
from yarl import URL

from bot.commands.desk import Desk, Interaction
from bot.commands.uploads import Upload
from bot.errors import Refusal, RefusalCode
from bot.services.clip_requests import Change, GenerationRequest
from bot.ui.modals import RemixForm, form_values
from bot.ui.text import forms

KEPT = 500
"""Forms that may be open at a time."""


def build(desk: Desk) -> app_commands.ContextMenu:
    """The menu entry; the form must be the first answer, so nothing is deferred before it."""

    async def remix(interaction: discord.Interaction, message: discord.Message) -> None:
        upload = next(media_of(message), None)
        if upload is None:
            raise Refusal(RefusalCode.NOTHING_TO_REMIX)
        subject = str(ULID())
        desk.open_forms[subject] = upload
        while len(desk.open_forms) > KEPT:
            desk.open_forms.popitem(last=False)
        await interaction.response.send_modal(RemixForm(subject, moves=is_clip(upload)))

    menu = app_commands.ContextMenu(name=forms.REMIX_MENU(), callback=remix)
    menu.guild_only = True
    menu.allowed_installs = app_commands.AppInstallationType(guild=True, user=False)
    return menu


async def submit(desk: Desk, interaction: Interaction, subject: str) -> None:
    """Submit of that form: the same request as `/generate` with the file attached."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    upload = desk.open_forms.get(subject)
    if upload is None:
        raise Refusal(RefusalCode.FORM_STALE)
    values = form_values(dict(interaction.data or {}))
    actor, place = desk.actor(interaction), desk.place(interaction)
    use = values.get("use") or forms.GUIDE_USE
    async with desk.received([upload]) as files:
        given: dict[str, Any] = {"image": files[0]}
        if is_clip(upload):
            given = {"guide": files[0]} if use == forms.GUIDE_USE else {"clip": files[0], "change": Change(use)}
        request = GenerationRequest(
            actor=actor, place=place, interaction_id=interaction.id, prompt=values["prompt"], loras=values.get("loras", ""), **given
        )
        submitted = await desk.services.clips.submit(request)
    desk.open_forms.pop(subject, None)
    await desk.confirm(interaction, submitted, actor)


def media_of(message: discord.Message) -> Iterator[Upload]:
    """Pictures and clips of a message, of what it forwards, and of a message made of components."""
    forwarded = message.message_snapshots
    for attachment in [*message.attachments, *(attachment for snapshot in forwarded for attachment in snapshot.attachments)]:
        if (attachment.content_type or "").startswith(("image/", "video/")):
            yield Upload.of(attachment)
    yield from _shown([*message.components, *(component for snapshot in forwarded for component in snapshot.components)])


def _shown(components: Any) -> Iterator[Upload]:
    for part in components:
        yield from _shown(getattr(part, "children", ()))
        for item in getattr(part, "items", ()):
            url = item.media.url
            yield Upload(PurePosixPath(URL(url).path).name, url, 0)


def is_clip(upload: Upload) -> bool:
    """By its name, for the form only; the content is looked at later."""
    return (mimetypes.guess_type(upload.filename)[0] or "").startswith("video/")
