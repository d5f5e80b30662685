"""What every command needs of its surroundings: who asks, where the answer goes, whether it can be posted there at all."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import discord

from bot import discord_codes, languages
from bot.commands.uploads import Downloader, Upload
from bot.entitlements import EntitlementDesk
from bot.errors import Refusal, RefusalCode
from bot.services.app import Services
from bot.services.jobs import SubmittedJob
from bot.services.plans import Plan
from bot.services.values import Actor, IncomingFile, JobPlace
from bot.ui import cards, job_cards
from bot.ui.language import speak

Interaction = discord.Interaction[Any]


_log = logging.getLogger(__name__)

_NEEDED = {
    "view_channel": "View Channel",
    "send_messages": "Send Messages",
    "attach_files": "Attach Files",
}
_NEEDED_IN_THREADS = {
    "view_channel": "View Channel",
    "send_messages_in_threads": "Send Messages in Threads",
    "attach_files": "Attach Files",
}


@dataclass
class Desk:
    """Shared by all commands of one client. `bell` is rung when a status card has something new to show."""

    services: Services
    downloader: Downloader
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    open_forms: OrderedDict[str, Upload] = field(default_factory=OrderedDict)
    """Files that forms are about. Kept in memory: the address of a file fits into no form, and expires anyway."""

    @property
    def entitlements(self) -> EntitlementDesk:
        """What Discord says about plans."""
        return EntitlementDesk(self.services)

    def sku_above(self, plan: Plan) -> int | None:
        """What is sold on Discord that grants more than `plan`; the least of it."""
        better = [(Plan(granted).rank, sku) for sku, granted in self.services.settings.skus.items() if Plan(granted).rank > plan.rank]
        return min(better)[1] if better else None

    def actor(self, interaction: Interaction) -> Actor:
        """Who asks, as the payload says: roles and permissions need no cache and no request."""
        user = interaction.user
        roles = tuple(role.id for role in user.roles) if isinstance(user, discord.Member) else ()
        admin = interaction.guild_id is not None and (interaction.permissions.administrator or interaction.permissions.manage_guild)
        return Actor(user.id, interaction.guild_id, user.display_name, roles, admin, adult_place=_marked(interaction))

    async def tune(self, interaction: Interaction) -> None:
        """Speak the language of whoever asks, in this task."""
        speak(await languages.of_reader(self.services.servers, interaction))

    async def admit(self, interaction: Interaction, action: str, subject_id: str | None = None) -> None:
        """Let the asker do `action` (a name of `bot.services.policy`), with the plans Discord says they have.

        Every interaction passes here, so from here on its answers are in the asker's language.

        Raises:
            Refusal: see `Gate.check`.
        """
        await self.tune(interaction)
        await self.entitlements.seen(interaction)
        await self.services.gate.check(action, self.actor(interaction), _channels(interaction), subject_id)

    def place(self, interaction: Interaction) -> JobPlace:
        """Where posts of a job started here go, checked now so that nobody waits for a video that cannot be shown.

        Raises:
            Refusal: NOT_IN_GUILD, CHANNEL_FORBIDDEN.
        """
        if interaction.guild_id is None or interaction.channel_id is None:
            raise Refusal(RefusalCode.NOT_IN_GUILD)
        needed = _NEEDED_IN_THREADS if isinstance(interaction.channel, discord.Thread) else _NEEDED
        allowed = interaction.app_permissions
        missing = [title for name, title in needed.items() if not (allowed.administrator or getattr(allowed, name))]
        if missing:
            raise Refusal(RefusalCode.CHANNEL_FORBIDDEN, missing=missing)
        guild = interaction.guild
        # interaction.filesize_limit counts the asker's Nitro, which a later post of the bot does not have
        limit = guild.filesize_limit if guild is not None else self.services.settings.max_post_bytes
        return JobPlace(interaction.guild_id, interaction.channel_id, limit)

    @asynccontextmanager
    async def received(self, uploads: Sequence[Upload]) -> AsyncIterator[list[IncomingFile]]:
        """Local copies of `uploads` for the length of the block.

        Raises:
            Refusal: FILE_TOO_LARGE, ATTACHMENT_UNAVAILABLE.
        """
        async with self.downloader.fetched(uploads) as files:
            yield files

    async def confirm(self, interaction: Interaction, submitted: SubmittedJob, actor: Actor, note: str = "") -> None:
        """Tell the asker that the job waits, and let its public card appear.

        The job exists, so nothing that fails here may look like a failure of the job: the public card tells the same.
        """
        self.bell.set()
        try:
            status = await self.services.quotas.status(actor)
            await answer(interaction, job_cards.queued(submitted.view, status.left, note=note))
        except Exception:  # noqa: BLE001 - whatever it was, the job is queued
            _log.exception("receipt not delivered", extra={"job_id": submitted.view.record.job_id})


def action_of(interaction: Interaction) -> str | None:
    """Name of a command, or of the option that is being completed, as in `bot.services.policy`; None for a command that is not ours."""
    command = interaction.command
    if command is None:
        return None
    option = focused(interaction)
    return f"/{command.qualified_name}" if option is None else f"/{command.qualified_name}:{option['name']}"


def focused(interaction: Interaction) -> Mapping[str, Any] | None:
    """The option somebody types into, within subcommands too; None unless this is an autocomplete."""
    data: dict[str, Any] = dict(interaction.data or {})
    level: list[Mapping[str, Any]] = list(data.get("options") or [])
    while level:
        for option in level:
            if option.get("focused"):
                return option
        level = [inner for option in level for inner in option.get("options") or []]
    return None


def _marked(interaction: Interaction) -> bool:
    """True in a channel marked for adults; a thread counts as its channel."""
    channel = interaction.channel
    return isinstance(channel, discord.abc.GuildChannel | discord.Thread) and bool(getattr(channel, "is_nsfw", lambda: False)())


def _channels(interaction: Interaction) -> tuple[int, ...]:
    channel = interaction.channel
    parent = channel.parent_id if isinstance(channel, discord.Thread) else None
    return tuple(number for number in (interaction.channel_id, parent) if number is not None)


async def answer(interaction: Interaction, card: cards.Card, files: Sequence[discord.File] = ()) -> None:
    """Show `card` as the answer to an interaction that was acknowledged before.

    What was asked for is done by now; a token that died meanwhile (15 minutes) only costs the person the sight of it.
    """
    try:
        await interaction.edit_original_response(view=card, attachments=list(files), allowed_mentions=discord.AllowedMentions.none())
    except discord.HTTPException as error:
        if error.code not in discord_codes.DEAD_TOKEN:
            raise
        _log.warning("answer came too late: %s", error, extra={"interaction_id": interaction.id})
