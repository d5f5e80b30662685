"""The Discord client: connection, commands, buttons and forms, each bound to one handler and one error handler."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable
from typing import Any

import aiohttp
import discord
from discord import app_commands

from bot import error_handler
from bot.acks import AckClock
from bot.commands.desk import Desk, action_of
from bot.commands.registry import BUTTON_HANDLERS, FORM_HANDLERS, actions, build_commands
from bot.commands.uploads import Downloader
from bot.config import BotSettings
from bot.loopback import loopback_connector
from bot.services.app import Services
from bot.services.policy import POLICY
from bot.ui import cards, text
from bot.ui.modals import FORM_ID
from bot.ui.translator import Translator
from bot.ui.views import BUTTONS, Press

_log = logging.getLogger(__name__)

Interaction = discord.Interaction[Any]

GOODBYE_S = 5.0


def build_connector(settings: BotSettings) -> aiohttp.TCPConnector:
    """A connector to Discord, or to the endpoint that stands in for it. Needs a running loop; one per session."""
    if settings.discord_endpoint is None or settings.discord_ca_file is None:
        return aiohttp.TCPConnector(limit=0)
    return loopback_connector(settings.discord_endpoint, settings.discord_ca_file)


class CommandTree(app_commands.CommandTree["CallsheetClient"]):
    """discord.py's tree with our gate and our error handler."""

    async def interaction_check(self, interaction: Interaction, /) -> bool:
        """Every slash command and every autocomplete begins here; the library lets no exception of this method answer anybody."""
        if interaction.type not in (discord.InteractionType.application_command, discord.InteractionType.autocomplete):
            return True
        action = action_of(interaction)
        try:
            if action is None:  # the library says that the command has changed
                await interaction.client.desk.tune(interaction)
            else:
                await interaction.client.desk.admit(interaction, action)
        except Exception as error:  # noqa: BLE001 - see above
            await error_handler.handle(interaction, error)
            return False
        return True

    async def on_error(self, interaction: Interaction, error: app_commands.AppCommandError, /) -> None:
        """Every error of a slash command ends here."""
        await error_handler.handle(interaction, error)


class CallsheetClient(discord.Client):
    """One connection to Discord; reads interactions only, never messages of other people.

    Use as `async with CallsheetClient(settings, services) as client: await client.start(token)`.
    """

    def __init__(self, settings: BotSettings, services: Services) -> None:
        intents = discord.Intents.none()
        intents.guilds = True  # channels, threads and boost level; nothing privileged
        discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False  # nobody speaks here, so nobody needs those warnings
        self.acks = AckClock()
        super().__init__(
            intents=intents,
            http_trace=self.acks.trace(),
            max_messages=None,
            allowed_mentions=discord.AllowedMentions.none(),
            connector=build_connector(settings),
            chunk_guilds_at_startup=False,
            # all guilds of a loopback Discord come at once
            guild_ready_timeout=2.0 if settings.discord_endpoint is None else 0.05,
        )
        self._settings = settings
        self._downloads = aiohttp.ClientSession(connector=build_connector(settings), cookie_jar=aiohttp.DummyCookieJar())
        self.desk = Desk(services, Downloader(self._downloads, settings.scratch_dir, settings.max_upload_bytes))
        self.tree = CommandTree(self)
        commands = build_commands(self.desk)
        lawless = actions(commands) - set(POLICY)
        if lawless:
            raise LookupError(f"no rule in bot/services/policy.py for {', '.join(sorted(lawless))}")
        for command in commands:
            self.tree.add_command(command)

    async def setup_hook(self) -> None:
        """Before the gateway connects: buttons of earlier lives work again, commands are current."""
        self.add_dynamic_items(*BUTTONS)
        await self.tree.set_translator(Translator())
        await self._sync_commands()

    async def close(self) -> None:
        """Close the gateway (code 1000) and every connection, within `GOODBYE_S` of a Discord that does not say goodbye back."""
        if self.ws is not None and self.ws.open:  # discord.py itself waits 30 s for the answer, longer than a service manager does
            try:
                async with asyncio.timeout(GOODBYE_S):
                    await self.ws.close(code=1000)
            except TimeoutError:
                _log.warning("Discord did not confirm the end of the session")
        await super().close()
        await self._downloads.close()

    # ---- commands -----------------------------------------------------------------------------------------------------------------

    async def _sync_commands(self) -> None:
        """Tell Discord our commands, but only when they changed: it allows 200 new ones a day."""
        translator = self.tree.translator
        commands = self.tree.get_commands()
        if translator is None:
            payload = [command.to_dict(self.tree) for command in commands]
        else:
            payload = [await command.get_translated_payload(self.tree, translator) for command in commands]
        known_by = {"application": self.application_id, "endpoint": self._settings.discord_endpoint, "commands": payload}
        digest = hashlib.sha256(json.dumps(known_by, sort_keys=True).encode()).hexdigest()
        marker = self._settings.data_dir / "commands.sha256"
        if marker.exists() and marker.read_text().strip() == digest:
            _log.info("commands unchanged, not synced")
            return
        synced = await self.tree.sync()
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_text(digest + "\n")
        _log.info("synced %d commands", len(synced))

    # ---- plans ----------------------------------------------------------------------------------------------------------------------

    async def on_ready(self) -> None:
        """Connected (again) without a resume: events may have been missed."""
        await self.desk.entitlements.listed(self)

    async def on_entitlement_create(self, entitlement: discord.Entitlement) -> None:
        """Somebody bought a plan."""
        await self.desk.entitlements.changed(entitlement)

    async def on_entitlement_update(self, entitlement: discord.Entitlement) -> None:
        """It was renewed, or will end."""
        await self.desk.entitlements.changed(entitlement)

    async def on_entitlement_delete(self, entitlement: discord.Entitlement) -> None:
        """It was refunded."""
        await self.desk.entitlements.refunded(entitlement)

    # ---- buttons: `bot.ui.views.ButtonHost` -----------------------------------------------------------------------------------------

    async def authorise(self, interaction: Interaction, press: Press) -> None:
        """Raise Refusal unless this person may press this button."""
        await self.desk.admit(interaction, f"{press.target}:{press.verb}", press.subject)

    async def pressed(self, interaction: Interaction, press: Press) -> None:
        """Run the handler of the button."""
        await BUTTON_HANDLERS[press.target, press.verb](self.desk, interaction, press.subject)

    async def failed(self, interaction: Interaction, error: Exception) -> None:
        """Answer after a failure."""
        await error_handler.handle(interaction, error)

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Somebody removed the bot from a server."""
        await self.desk.services.privacy.forget_guild(guild.id)
        _log.info("removed from a server; its settings and waiting jobs are gone")

    # ---- forms, and what nothing else answers -----------------------------------------------------------------------------------------

    async def on_interaction(self, interaction: Interaction) -> None:
        """Forms are recognised by their id, so one opened before a restart still counts; leftovers of older versions get an answer."""
        self.acks.arrived(interaction.id)
        custom_id = interaction.custom_id or ""
        try:
            if interaction.type is discord.InteractionType.modal_submit:
                form = FORM_ID.fullmatch(custom_id)
                handler = FORM_HANDLERS.get(form["form"]) if form is not None else None
                if form is None or handler is None:
                    await self._say_no(interaction, text.UNKNOWN_FORM)
                else:
                    await self.desk.admit(interaction, f"form:{form['form']}", form["subject"])
                    await handler(self.desk, interaction, form["subject"])
            elif interaction.type is discord.InteractionType.component and not any(
                button.__discord_ui_compiled_template__.fullmatch(custom_id) for button in BUTTONS
            ):
                await self._say_no(interaction, text.UNKNOWN_BUTTON)
        except Exception as error:  # noqa: BLE001 - an event handler's exception would leave the person without an answer
            await error_handler.handle(interaction, error)

    async def _say_no(self, interaction: Interaction, sentence: Callable[[], str]) -> None:
        await self.desk.tune(interaction)
        await interaction.response.send_message(view=cards.refusal(sentence()), ephemeral=True)

    async def on_error(self, event_method: str, /, *_args: Any, **_kwargs: Any) -> None:
        """Log what an event handler let through."""
        _log.exception("event %s failed", event_method)
