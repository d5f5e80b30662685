"""LoopbackDiscord: one Discord on 127.0.0.1 behind TLS, with the handles that tests and scenarios use."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import trustme
from aiohttp import web

from bot.loopback import loopback_connector
from bot.sandbox.cdn import Cdn
from bot.sandbox.clock import SandboxClock
from bot.sandbox.core import Call, Core, Violation
from bot.sandbox.errors import ScenarioError
from bot.sandbox.faults import Fault
from bot.sandbox.gateway import INTENT_GUILDS, Gateway
from bot.sandbox.interactions import Interaction, Interactions
from bot.sandbox.messages import Messages
from bot.sandbox.openapi import OpenApi, find_description
from bot.sandbox.payloads import channel_json, entitlement_json, guild_json
from bot.sandbox.people import Person
from bot.sandbox.permissions import Permission
from bot.sandbox.rest import API, MAX_REQUEST_BYTES, Rest
from bot.sandbox.routes import Routes
from bot.sandbox.world import Channel, ChannelType, Entitlement, Guild, Member, Message, Overwrite, Role, Sku, World

HOSTS = ("discord.com", "gateway.discord.gg", "cdn.discordapp.com", "media.discordapp.net")
TOKEN = "sandbox.bot.token"  # noqa: S105  opens nothing but this server
DEFAULT_CHANNELS = ("general",)


@dataclass(frozen=True)
class GuildSpec:
    """What a guild looks like at the start."""

    name: str = "Studio"
    premium_tier: int = 0
    file_limit: int | None = None  # bytes per file, None for the tier's
    channels: tuple[str, ...] = DEFAULT_CHANNELS
    locale: str = "en-US"


@dataclass
class Settings:
    """Switches of one loopback Discord."""

    rate_limits: bool = False
    privileged_intents: int = 0
    openapi: Path | None = field(default_factory=find_description)


class LoopbackDiscord:
    """A running Discord: `endpoint` ("127.0.0.1:PORT") and `ca_file` are what a client needs to reach it; `token` opens it.

    Use as an async context manager. `offset_file` shares the clock's offset with other processes.
    """

    def __init__(
        self, guild: GuildSpec | None = None, *, settings: Settings | None = None, offset_file: Path | None = None, token: str = TOKEN
    ) -> None:
        self._settings = settings or Settings()
        self.clock = SandboxClock(offset_file)
        openapi = OpenApi.load(self._settings.openapi) if self._settings.openapi is not None else None
        self._core = Core(self.clock, token=token, openapi=openapi)
        self.gateway = Gateway(self._core, allowed_privileged=self._settings.privileged_intents)
        self._messages = Messages(self._core, self.gateway)
        self._interactions = Interactions(self._core, self.gateway, self._messages)
        self._routes = Routes(self._core, self.gateway, self._messages, self._interactions)
        self._rest = Rest(self._core, self._routes, rate_limits=self._settings.rate_limits)
        self.cdn = Cdn(self._core)
        self._people: dict[str, Person] = {}
        self._runner: web.AppRunner | None = None
        self._folder: Path | None = None
        self.ca_file = Path()
        self.endpoint = ""
        self.token = token
        self.guild = self.add_guild(guild or GuildSpec())

    async def __aenter__(self) -> Self:
        self._folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="loopback-discord-"))
        self.ca_file = self._folder / "ca.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca_file)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*HOSTS).configure_cert(context)
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        app.router.add_route("*", f"{API}/{{path:.*}}", self._rest.serve)
        app.router.add_get("/attachments/{path:.*}", self.cdn.serve)
        app.router.add_get("/ephemeral-attachments/{path:.*}", self.cdn.serve)
        app.router.add_get("/", self.gateway.serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = self._runner.addresses[0][1]
        self.endpoint = f"127.0.0.1:{port}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._interactions.close()
        self.gateway.drop()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def connector(self) -> aiohttp.TCPConnector:
        """A connector that takes a client in this process here, whatever host it asks for; one per client."""
        return loopback_connector(self.endpoint, self.ca_file)

    # -- what is there ------------------------------------------------------------------------------------------------

    @property
    def world(self) -> World:
        """All state."""
        return self._core.world

    @property
    def application_id(self) -> int:
        """Id of the bot's application and account."""
        return self._core.world.application_id

    @property
    def violations(self) -> list[Violation]:
        """What the bot did that Discord forbids."""
        return self._core.violations

    @property
    def calls(self) -> list[Call]:
        """Every REST call, in order of arrival."""
        return self._core.calls

    @property
    def interactions(self) -> list[Interaction]:
        """Everything people did, in order."""
        return list(self._interactions.all.values())

    @property
    def commands(self) -> list[dict[str, Any]]:
        """Registered commands, global ones and those of the first guild."""
        return [*self._core.commands, *self._core.guild_commands.get(self.guild.id, [])]

    def channel(self, name: str) -> Channel:
        """A channel or thread by name; `@maker` is the DM with a person.

        Raises:
            ScenarioError: there is none, or it was deleted.
        """
        if name.startswith("@"):
            return self.world.dm_with(self.user(name[1:]).account)
        for channel in self.world.channels.values():
            if channel.name == name and not channel.deleted:
                return channel
        raise ScenarioError(f"there is no channel {name!r}")

    def messages(self, channel: str, *, seen_by: str | None = None) -> list[Message]:
        """What stands in a channel, oldest first; with `seen_by` also that person's ephemeral messages."""
        return self.world.history(self.channel(channel).id, None if seen_by is None else self.user(seen_by).account)

    def user(self, name: str, guild: Guild | None = None) -> Person:
        """The person called `name`; created, and a member of the first guild (or of `guild`), when first asked for."""
        if name not in self._people:
            account = self.world.add_user(name)
            (guild or self.guild).members[account.id] = Member(account)
            self._people[name] = Person(account, self._core, self._interactions, self._messages)
        return self._people[name]

    @property
    def people(self) -> list[Person]:
        """Everybody who was asked for so far."""
        return list(self._people.values())

    # -- what happens -------------------------------------------------------------------------------------------------

    def add_guild(self, spec: GuildSpec) -> Guild:
        """A guild with its channels; announced to live sessions."""
        guild = self.world.add_guild(spec.name, premium_tier=spec.premium_tier, file_limit=spec.file_limit, locale=spec.locale)
        for name in spec.channels:
            self.world.add_channel(guild, name)
        self.gateway.dispatch("GUILD_CREATE", guild_json(guild, self.world), intent=INTENT_GUILDS, guild_id=guild.id)
        return guild

    def remove_bot(self) -> None:
        """Somebody kicks the bot out of the first guild."""
        self.guild.bot_inside = False
        self.guild.members.pop(self.world.bot.id, None)
        self.gateway.dispatch("GUILD_DELETE", {"id": str(self.guild.id)}, intent=INTENT_GUILDS, guild_id=self.guild.id)

    def delete_channel(self, name: str) -> None:
        """A moderator deletes a channel; its messages go with it, its threads too."""
        channel = self.channel(name)
        for gone in [c for c in self.world.channels.values() if c is channel or c.parent_id == channel.id]:
            gone.deleted = True
            for message in self.world.history(gone.id):
                message.deleted_at = self.clock.now()
            event = "CHANNEL_DELETE" if gone.type is ChannelType.TEXT else "THREAD_DELETE"
            self.gateway.dispatch(event, channel_json(gone, self.world), intent=INTENT_GUILDS, guild_id=gone.guild_id)
        self._core.bell.ring()

    def deny(self, channel: str, *permissions: str, to: str | None = None) -> None:
        """Take permissions in a channel from the bot, or from a person."""
        target = self.world.bot if to is None else self.user(to).account
        where = self.channel(channel)
        denied = Permission(0)
        for name in permissions:
            denied |= Permission.named(name)
        where.overwrites.append(Overwrite(target.id, for_role=False, deny=denied))
        self.gateway.dispatch("CHANNEL_UPDATE", channel_json(where, self.world), intent=INTENT_GUILDS, guild_id=where.guild_id)

    def give_role(self, to: str, name: str, permissions: Iterable[str] = (), guild: Guild | None = None) -> Role:
        """A role with permissions for a person in the first guild (or in `guild`); made when it does not exist."""
        guild = guild or self.guild
        role = next((r for r in guild.roles.values() if r.name == name), None)
        if role is None:
            bits = Permission(0)
            for permission in permissions:
                bits |= Permission.named(permission)
            role = Role(self.world.ids.next(), name, bits)
            guild.roles[role.id] = role
        guild.members[self.user(to).account.id].role_ids.append(role.id)
        return role

    def sku(self, name: str, *, type_: int = 5) -> Sku:
        """Something the application sells, by name; made when it does not exist."""
        found = next((s for s in self.world.skus.values() if s.name == name), None)
        if found is None:
            found = Sku(self.world.ids.next(), name, type_)
            self.world.skus[found.id] = found
        return found

    def grant(self, to: str, sku: str, *, for_guild: bool = False, ends_at: float | None = None) -> Entitlement:
        """A person buys something, for themselves or for the guild; Discord names the buyer of a guild's purchase, too."""
        user_id = self.user(to).account.id
        return self._routes.grant(self.sku(sku).id, user_id=user_id, guild_id=self.guild.id if for_guild else None, ends_at=ends_at)

    def bought(self, to: str, sku: str) -> Entitlement:
        """The newest purchase of a person.

        Raises:
            ScenarioError: there is none.
        """
        user_id, sku_id = self.user(to).account.id, self.sku(sku).id
        mine = [e for e in self.world.entitlements.values() if e.user_id == user_id and e.sku_id == sku_id and not e.deleted]
        if not mine:
            raise ScenarioError(f"{to} has not bought {sku}")
        return mine[-1]

    def ends(self, entitlement: Entitlement, at: float) -> None:
        """A subscription was cancelled and runs out at `at`, or was renewed until then."""
        entitlement.ends_at = at
        self.gateway.dispatch("ENTITLEMENT_UPDATE", entitlement_json(entitlement, self.world))

    def revoke(self, entitlement: Entitlement) -> None:
        """A refund."""
        entitlement.deleted = True
        self.gateway.dispatch("ENTITLEMENT_DELETE", entitlement_json(entitlement, self.world))

    def fault(self, route: str, **kwargs: Any) -> Fault:
        """Inject a REST fault, see `Fault`."""
        fault = Fault(route, **kwargs)
        self._rest.faults.append(fault)
        return fault

    # -- waiting ------------------------------------------------------------------------------------------------------

    async def ready(self, timeout_s: float = 60.0) -> None:
        """Wait until the bot is connected and its commands are registered.

        Raises:
            TimeoutError: it is not.
        """
        await self.until(lambda: bool(self.gateway.live_sessions) and bool(self.commands), timeout_s, "the bot's login and command sync")

    async def until(self, look: Callable[[], Any], timeout_s: float, what: str) -> Any:
        """The first true result of `look`, asked again after every change.

        Raises:
            TimeoutError: `what` did not happen.
        """
        return await self._core.bell.until(lambda: look() or None, timeout_s, what)

    async def message(self, channel: str, accept: Callable[[Message], bool] = lambda _: True, timeout_s: float = 10.0) -> Message:
        """The first public message in a channel that `accept` takes, waiting for it.

        Raises:
            TimeoutError: there is none in time.
        """
        found = await self.until(
            lambda: next((m for m in self.messages(channel) if accept(m)), None), timeout_s, f"a message in #{channel}"
        )
        assert isinstance(found, Message)
        return found
