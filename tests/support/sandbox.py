"""A small bot on the unmodified discord.py and the fixtures that bring it together with a loopback Discord."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import discord
from discord import app_commands, ui
from PIL import Image

from bot.sandbox.processes import Stack
from bot.sandbox.records import Records, job_reached
from bot.sandbox.server import GuildSpec, LoopbackDiscord


class EchoButton(ui.DynamicItem[ui.Button[ui.View]], template=r"demo:(?P<verb>[a-z]+):(?P<id>[0-9]+)"):
    """Answers with what it was."""

    def __init__(self, verb: str, ident: int) -> None:
        super().__init__(ui.Button(label=verb.capitalize(), custom_id=f"demo:{verb}:{ident}"))
        self.verb = verb
        self.ident = ident

    @classmethod
    async def from_custom_id(cls, interaction, item, match):
        """Rebuild it from its custom id."""
        del interaction, item
        return cls(match["verb"], int(match["id"]))

    async def callback(self, interaction: discord.Interaction) -> None:
        """Open a modal for `add`, change the message for `turn`, else answer in private."""
        if self.verb == "add":
            await interaction.response.send_modal(FilesModal())
        elif self.verb == "turn":
            await interaction.response.edit_message(view=card("turned", ident=self.ident))
        else:
            await interaction.response.send_message(f"pressed {self.verb} {self.ident}", ephemeral=True)


class FilesModal(ui.Modal, title="Add pictures"):
    """A note and up to ten files."""

    note = ui.Label(text="Note", component=ui.TextInput(required=False, max_length=100))
    files = ui.Label(text="Pictures", component=ui.FileUpload(min_values=1, max_values=10, required=True))

    def __init__(self) -> None:
        super().__init__(timeout=900)

    async def on_submit(self, interaction: discord.Interaction) -> None:
        """Read every file and say what came."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        sizes = [len(await file.read()) for file in self.files.component.values]
        names = ", ".join(file.filename for file in self.files.component.values)
        await interaction.edit_original_response(content=f"{names} ({sum(sizes)} bytes), note {self.note.component.value!r}")


def card(text: str, *, ident: int = 1, file: discord.File | None = None, colour: int = 0x2E86C1) -> ui.LayoutView:
    """A Components V2 message: a container with text, optionally a picture, and two buttons."""
    view = ui.LayoutView(timeout=None)
    container: ui.Container[ui.LayoutView] = ui.Container(ui.TextDisplay(text), accent_colour=colour)
    if file is not None:
        container.add_item(ui.MediaGallery(discord.MediaGalleryItem(f"attachment://{file.filename}")))
    container.add_item(ui.ActionRow(EchoButton("hello", ident), EchoButton("add", ident), EchoButton("turn", ident)))
    view.add_item(container)
    return view


class DemoBot(discord.Client):
    """The commands the sandbox's own tests need."""

    def __init__(self, connector) -> None:
        super().__init__(intents=discord.Intents(guilds=True), connector=connector, guild_ready_timeout=0.05, max_messages=None)
        self.tree = app_commands.CommandTree(self)
        self.seen: asyncio.Queue[str] = asyncio.Queue()
        self.entitled: asyncio.Queue[int] = asyncio.Queue()
        self.ready_again = asyncio.Event()
        self.up = asyncio.Event()
        self.tree.add_command(app_commands.Command(name="echo", description="Say it back", callback=self._echo))
        self.tree.add_command(app_commands.Command(name="files", description="Read files", callback=self._files))
        self.tree.add_command(app_commands.Command(name="slow", description="Answer too late", callback=self._slow))
        self.tree.add_command(app_commands.Command(name="card", description="Post a card", callback=self._card))
        hues = app_commands.Command(name="hue", description="Complete a list", callback=self._hue)
        hues.autocomplete("hues")(self._complete)
        self.tree.add_command(hues)
        self.late: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.release = asyncio.Event()

    async def before_identify_hook(self, shard_id, *, initial=False):
        """Identify at once: the library's own pause of 5 s protects the real Discord."""

    async def setup_hook(self) -> None:
        """Register buttons and commands."""
        self.add_dynamic_items(EchoButton)
        await self.tree.sync()

    async def on_ready(self) -> None:
        """Note that everything is known."""
        self.up.set()

    async def on_resumed(self) -> None:
        """Note a resume."""
        self.ready_again.set()

    async def on_entitlement_create(self, entitlement: discord.Entitlement) -> None:
        """Note a purchase."""
        self.entitled.put_nowait(entitlement.sku_id)

    async def _echo(self, interaction: discord.Interaction, text: str, private: bool = True) -> None:
        await interaction.response.defer(ephemeral=private, thinking=True)
        await interaction.followup.send(f"{text} for {interaction.user.name}")

    async def _files(self, interaction: discord.Interaction, image: discord.Attachment, other: discord.Attachment | None = None) -> None:
        await interaction.response.defer(ephemeral=True)
        sizes = [len(await a.read()) for a in (image, other) if a is not None]
        await interaction.edit_original_response(content=f"read {sizes}")

    async def _slow(self, interaction: discord.Interaction) -> None:
        await self.release.wait()
        try:
            await interaction.response.defer()
        except discord.NotFound as error:
            self.late.set_result(error.code)

    async def _card(self, interaction: discord.Interaction, picture: discord.Attachment) -> None:
        await interaction.response.send_message("posting", ephemeral=True)
        path = Path(picture.filename).name
        file = discord.File(fp=io.BytesIO(await picture.read()), filename=path)
        where = self.get_partial_messageable(interaction.channel_id, guild_id=interaction.guild_id)
        await where.send(view=card(f"By {interaction.user.mention}", file=file), file=file, nonce="job1-result")

    async def _hue(self, interaction: discord.Interaction, hues: str) -> None:
        await interaction.response.send_message(view=card(hues, colour=0xC0392B), ephemeral=True)

    async def _complete(self, interaction: discord.Interaction, text: str) -> list[app_commands.Choice[str]]:
        head, _, tail = text.rpartition(",")
        return [
            app_commands.Choice(name=f"{head},{name}" if head else name, value=f"{head},{name}" if head else name)
            for name in ("red", "green", "blue")
            if name.startswith(tail.strip())
        ]


@contextlib.asynccontextmanager
async def running_bot(server: LoopbackDiscord) -> AsyncIterator[DemoBot]:
    """A `DemoBot` that is logged in and ready, closed politely at the end."""
    bot = DemoBot(server.connector())
    task = asyncio.create_task(bot.start(server.token))
    try:
        await server.ready(10)
        async with asyncio.timeout(10):
            await bot.up.wait()
        yield bot
    finally:
        await bot.close()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def picture(path: Path, *, size: tuple[int, int] = (32, 32), colour: str = "teal") -> Path:
    """A PNG at `path`."""
    Image.new("RGB", size, colour).save(path)
    return path


@dataclass
class Studio:
    """The whole product on one loopback Discord: real Valkey, worker and bot processes."""

    discord: LoopbackDiscord
    stack: Stack
    records: Records

    async def job(self, person: str, status: str = "succeeded", within_s: float = 120.0, lora: str | None = None) -> dict[str, Any]:
        """Wait for the newest job of a person to have `status` and its messages to be posted; the row of the bot's database."""
        owner = self.discord.user(person).account.id
        return await job_reached(self.records, status, within_s, owner_id=owner, lora=lora, check=self.stack.check)


@contextlib.asynccontextmanager
async def studio(folder: Path, *, guild: GuildSpec | None = None, settings: dict[str, Any] | None = None) -> AsyncIterator[Studio]:
    """Everything started and ready below `folder`, stopped at the end; an API violation fails the test that used it."""
    offset_file = folder / "clock-offset"
    async with LoopbackDiscord(guild, offset_file=offset_file) as server, Stack(server, folder, offset_file, settings or {}) as stack:
        await stack.start()
        yield Studio(server, stack, Records(stack.database))
        assert [str(v) for v in server.violations] == []
