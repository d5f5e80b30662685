"""`/loras`: browse the library, open one LoRA's card, and what its owner does with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import discord
from discord import app_commands

from bot.commands.completion import complete_lora_name
from bot.commands.desk import Desk, Interaction, answer
from bot.commands.uploads import Upload
from bot.errors import Refusal, RefusalCode
from bot.services.library import Details, Filters, Page, Scope
from bot.storage.loras import Visibility
from bot.ui import cards, library_cards, shelf_ids
from bot.ui.modals import EditLoraForm, form_values
from bot.ui.text import library as words
from engine.contracts.bases import BASES
from engine.contracts.lora import LoraKind
from engine.contracts.model import StoredObject
from engine.contracts.objects import extension_of
from engine.errors import StoreError

_log = logging.getLogger(__name__)

SCOPES = [
    app_commands.Choice(name="everything I can use", value=Scope.ALL.value),
    app_commands.Choice(name="mine", value=Scope.MINE.value),
    app_commands.Choice(name="of this server", value=Scope.SERVER.value),
    app_commands.Choice(name="public", value=Scope.PUBLIC.value),
]
KINDS = [app_commands.Choice(name=kind.value, value=kind.value) for kind in LoraKind]


def build(desk: Desk) -> app_commands.Group:
    """The commands, bound to `desk`."""
    group = app_commands.Group(
        name="loras",
        description="Characters, styles, motions and effects you can use here",
        allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
    )

    @group.command(name="browse", description="Look through the library, with a picture of each")
    @app_commands.describe(
        show="Whose LoRAs", kind="Only this kind", by="Only what this person made", search="A part of the name, the trigger or the maker"
    )
    @app_commands.choices(show=SCOPES, kind=KINDS)
    async def browse(
        interaction: discord.Interaction,
        show: str | None = None,
        kind: str | None = None,
        by: discord.User | None = None,
        search: app_commands.Range[str, 1, 100] | None = None,
    ) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        filters = Filters(
            scope=Scope(show or Scope.ALL),
            kind=LoraKind(kind) if kind else None,
            owner_id=by.id if by is not None else None,
            text=shelf_ids.clipped(search or ""),
        )
        await _show_page(desk, interaction, 1, filters)

    @group.command(name="show", description="One LoRA: preview, trigger, prompts to try, versions, download")
    @app_commands.describe(name="Which one; a part of the name is enough to find it")
    async def show(interaction: discord.Interaction, name: str) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await _show_details(desk, interaction, await desk.services.library.show_named(name, desk.actor(interaction)))

    @group.command(name="import", description="Bring a LoRA made elsewhere: a safetensors file, or a download link of mine")
    @app_commands.describe(
        name="2 to 16 small letters or digits, used in /generate loras:",
        kind="What it does",
        file="A safetensors file made for this model",
        link="A link from the Download button of a LoRA",
        trigger="Word that calls it in a prompt, if it has one",
    )
    @app_commands.choices(kind=KINDS)
    async def take(
        interaction: discord.Interaction,
        name: str,
        kind: str,
        file: discord.Attachment | None = None,
        link: str | None = None,
        trigger: str | None = None,
    ) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        actor, imports = desk.actor(interaction), desk.services.imports
        if file is not None:
            async with desk.received([Upload.of(file)]) as files:
                done = await imports.from_file(files[0], actor, name=name, kind=LoraKind(kind), trigger=trigger)
        elif link is not None:
            done = await imports.from_link(link, actor, name=name, kind=LoraKind(kind), trigger=trigger)
        else:
            raise Refusal(RefusalCode.NO_LORA_FILE)
        await answer(interaction, library_cards.imported(done))

    complete_lora_name(desk, show, "name")
    return group


# ---- pages ----------------------------------------------------------------------------------------------------------------------


async def turn(desk: Desk, interaction: Interaction, subject: str) -> None:
    """Buttons "Newer" and "Older"."""
    await _show_page(desk, interaction, *shelf_ids.decode(subject))


async def _show_page(desk: Desk, interaction: Interaction, number: int, filters: Filters) -> None:
    actor = desk.actor(interaction)
    page: Page = await desk.services.library.page(actor, filters, number)
    keys = {lora.lora_id: f"lora-{lora.lora_id.lower()}" for lora in page.loras}
    async with _copies(desk, {keys[lora.lora_id]: lora.poster for lora in page.loras}) as copies:
        pictures = {lora_id: copies[key][0] for lora_id, key in keys.items() if key in copies}
        files = [discord.File(path, filename=name) for name, path in copies.values()]
        await answer(interaction, library_cards.page(page, pictures, actor.user_id), files)


@asynccontextmanager
async def _copies(desk: Desk, wanted: Mapping[str, StoredObject | None]) -> AsyncIterator[dict[str, tuple[str, Path]]]:
    """Local copies by key, each with the file name to attach it under, for the length of the block; what cannot be had is left out."""

    async def fetch(key: str, obj: StoredObject | None) -> tuple[str, tuple[str, Path]] | None:
        if obj is None:
            return None
        try:
            return key, (f"{key}.{extension_of(obj.media_type)}", await desk.services.files.fetch(obj))
        except StoreError as error:
            _log.warning("no picture: %s", error)
            return None

    found = dict(entry for entry in await asyncio.gather(*(fetch(*each) for each in wanted.items())) if entry is not None)
    try:
        yield found
    finally:
        for _, path in found.values():
            path.unlink(missing_ok=True)


# ---- one LoRA -------------------------------------------------------------------------------------------------------------------


async def show(desk: Desk, interaction: Interaction, lora_id: str) -> None:
    """Button with the LoRA's name on a page."""
    await _show_details(desk, interaction, await desk.services.library.show(lora_id, desk.actor(interaction)))


async def _show_details(desk: Desk, interaction: Interaction, shown: Details) -> None:
    lora = shown.lora
    main = "preview" if lora.preview is not None else "poster"
    async with _copies(desk, {main: lora.preview or lora.poster, "chart": lora.loss_curve}) as copies:
        files = [discord.File(path, filename=name) for name, path in copies.values()]
        await answer(interaction, library_cards.details(shown, {key: name for key, (name, _) in copies.items()}), files)


async def open_edit(desk: Desk, interaction: Interaction, lora_id: str) -> None:
    """Button "Edit": the form must be the first answer, so nothing is deferred before it."""
    await interaction.response.send_modal(EditLoraForm(await desk.services.library.owned(lora_id, desk.actor(interaction))))


async def edit(desk: Desk, interaction: Interaction, lora_id: str) -> None:
    """Submit of that form."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    values = form_values(dict(interaction.data or {}))
    lora = await desk.services.library.edit(
        lora_id,
        desk.actor(interaction),
        name=values.get("name", ""),
        visibility=Visibility(values.get("visibility") or Visibility.PRIVATE),
        examples=values.get("examples", "").splitlines(),
    )
    await answer(interaction, cards.notice(words.edited(lora.name, lora.visibility)))


async def delete(desk: Desk, interaction: Interaction, lora_id: str) -> None:
    """Button "Delete": asks first."""
    actor = desk.actor(interaction)
    await desk.services.library.owned(lora_id, actor)
    await answer(interaction, library_cards.confirm_delete(await desk.services.library.show(lora_id, actor)))


async def erase(desk: Desk, interaction: Interaction, lora_id: str) -> None:
    """Button "Delete … for good"."""
    done = await desk.services.library.delete(lora_id, desk.actor(interaction))
    await answer(interaction, cards.notice(words.lora_deleted(done.lora.name, done.still_used_by)))


async def versions(desk: Desk, interaction: Interaction, lora_id: str) -> None:
    """Button "Versions"."""
    actor = desk.actor(interaction)
    await desk.services.library.owned(lora_id, actor)
    await answer(interaction, library_cards.versions(await desk.services.library.show(lora_id, actor)))


async def use_version(desk: Desk, interaction: Interaction, subject: str) -> None:
    """Button "Use version 2"; the list it stands in is updated."""
    lora_id, _, number = subject.partition(".")
    actor = desk.actor(interaction)
    lora = await desk.services.library.roll_back(lora_id, actor, int(number))
    shown = await desk.services.library.show(lora_id, actor)
    await answer(interaction, library_cards.versions(shown, words.version_used(lora.name, lora.version)))


async def download(desk: Desk, interaction: Interaction, lora_id: str) -> None:
    """Button "Download"."""
    lora, link = await desk.services.library.download(lora_id, desk.actor(interaction))
    licence = BASES[lora.base].licence if lora.base in BASES else lora.base
    expires_at = desk.services.clock() + desk.services.settings.link_expires_s
    await answer(interaction, library_cards.download(lora, link, expires_at, licence))


async def renew(desk: Desk, interaction: Interaction, lora_id: str) -> None:
    """Button "New version": an empty data set with the LoRA's name, kind and trigger."""
    if interaction.guild_id is None:
        raise Refusal(RefusalCode.NOT_IN_GUILD)
    actor = desk.actor(interaction)
    lora = await desk.services.library.owned(lora_id, actor)
    await answer(interaction, library_cards.new_version(await desk.services.datasets.open_version(actor, lora)))
