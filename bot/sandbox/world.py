"""What exists in the loopback Discord: people, one or more guilds, channels, threads, DMs, messages, entitlements. Plain state, no I/O."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any

from bot.sandbox.clock import SandboxClock, Snowflakes
from bot.sandbox.errors import unknown
from bot.sandbox.permissions import ALL_PERMISSIONS, EVERYONE_PERMISSIONS, NO_PERMISSION, Permission

MIB = 1024 * 1024
DEFAULT_FILE_LIMITS = {0: 10 * MIB, 1: 10 * MIB, 2: 50 * MIB, 3: 100 * MIB}
"""Bytes per uploaded file by the guild's premium tier (discord.py's table; Discord changes it, so guilds may override it)."""

APPLICATION_NAME = "Callsheet"


class ChannelType(IntEnum):
    """Discord's channel types that occur here."""

    TEXT = 0
    DM = 1
    PUBLIC_THREAD = 11


class MessageFlag(IntFlag):
    """Discord's message flags that occur here."""

    CROSSPOSTED = 1 << 0
    SUPPRESS_EMBEDS = 1 << 2
    EPHEMERAL = 1 << 6
    LOADING = 1 << 7
    SUPPRESS_NOTIFICATIONS = 1 << 12
    COMPONENTS_V2 = 1 << 15


NO_FLAG = MessageFlag(0)


@dataclass
class User:
    """An account. `upload_limit` is what the person's own client may upload per file, in bytes."""

    id: int
    name: str
    bot: bool = False
    upload_limit: int = DEFAULT_FILE_LIMITS[0]
    accepts_dms: bool = True
    locale: str = "en-US"


@dataclass
class Role:
    """A role of one guild."""

    id: int
    name: str
    permissions: Permission


@dataclass
class Member:
    """A user in a guild."""

    user: User
    role_ids: list[int] = field(default_factory=list)


@dataclass
class Overwrite:
    """What a channel allows and denies to one role or member."""

    target_id: int
    for_role: bool
    allow: Permission = NO_PERMISSION
    deny: Permission = NO_PERMISSION


@dataclass
class Channel:
    """A text channel, thread or DM."""

    id: int
    type: ChannelType
    name: str
    guild_id: int | None
    overwrites: list[Overwrite] = field(default_factory=list)
    parent_id: int | None = None
    recipient: User | None = None
    nsfw: bool = False
    archived: bool = False
    locked: bool = False
    deleted: bool = False


@dataclass
class Guild:
    """A community. `file_limit` overrides the tier's bytes per file; `locale` is the language its owner chose in Discord."""

    id: int
    name: str
    premium_tier: int
    owner_id: int
    roles: dict[int, Role] = field(default_factory=dict)
    members: dict[int, Member] = field(default_factory=dict)
    file_limit: int | None = None
    locale: str = "en-US"
    bot_inside: bool = True

    @property
    def upload_limit(self) -> int:
        """Bytes per file for anyone who posts here."""
        return DEFAULT_FILE_LIMITS[self.premium_tier] if self.file_limit is None else self.file_limit


@dataclass
class Attachment:
    """A stored file with its place on the CDN."""

    id: int
    filename: str
    content_type: str
    data: bytes = field(repr=False)
    url: str
    ephemeral: bool = False
    width: int | None = None
    height: int | None = None
    description: str | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    @property
    def sha256(self) -> str:
        """Hash of the content, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def is_video(self) -> bool:
        """True for a clip."""
        return self.content_type.startswith("video/")


@dataclass
class Version:
    """What a message showed until it was edited."""

    until: float
    content: str
    components: list[dict[str, Any]]
    embeds: list[dict[str, Any]]
    attachments: list[Attachment]
    loading: bool


@dataclass
class Message:
    """A message with everything it ever showed. `only_for` is the user id of an ephemeral message's one reader."""

    id: int
    channel_id: int
    author: User
    created_at: float
    content: str = ""
    components: list[dict[str, Any]] = field(default_factory=list)
    embeds: list[dict[str, Any]] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    flags: MessageFlag = NO_FLAG
    only_for: int | None = None
    nonce: str | int | None = None
    interaction_id: int | None = None
    reference_id: int | None = None
    pinged: list[int] = field(default_factory=list)
    edited_at: float | None = None
    deleted_at: float | None = None
    history: list[Version] = field(default_factory=list)

    @property
    def loading(self) -> bool:
        """True while it says "… is thinking"."""
        return MessageFlag.LOADING in self.flags

    @property
    def v2(self) -> bool:
        """True for a Components V2 message."""
        return MessageFlag.COMPONENTS_V2 in self.flags

    @property
    def has_video(self) -> bool:
        """True when a clip is shown: an uploaded one, or one linked in a gallery."""
        if any(a.is_video for a in self.attachments):
            return True
        media = (item["media"]["url"] for part in walk_components(self.components) if part["type"] == 12 for item in part["items"])
        return any(url.split("?")[0].endswith((".mp4", ".webm", ".mov")) for url in media)

    @property
    def text(self) -> str:
        """Everything readable in it: content, embeds, text displays and button labels, one per line."""
        lines = [self.content]
        lines += [str(e[key]) for e in self.embeds for key in ("title", "description") if e.get(key)]
        for part in walk_components(self.components):
            if part["type"] == 10:
                lines.append(part["content"])
            elif part["type"] == 2 and part.get("label"):
                lines.append(f"[{part['label']}]")
        return "\n".join(line for line in lines if line)

    @property
    def buttons(self) -> list[dict[str, Any]]:
        """Its buttons in order, as component objects."""
        return [part for part in walk_components(self.components) if part["type"] == 2]

    @property
    def accent(self) -> int | None:
        """Accent colour of its first container."""
        for part in self.components:
            if part["type"] == 17:
                colour: int | None = part.get("accent_color")
                return colour
        return None

    def snapshot(self, until: float) -> None:
        """Remember what it shows now, before an edit."""
        self.history.append(
            Version(until, self.content, copy.deepcopy(self.components), copy.deepcopy(self.embeds), list(self.attachments), self.loading)
        )


def walk_components(components: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every component of a message in reading order, parents before children, section accessories after the section's text."""
    found: list[dict[str, Any]] = []
    for part in components:
        if not isinstance(part, dict):
            continue
        found.append(part)
        found += walk_components(part.get("components") or [])
        if isinstance(part.get("accessory"), dict):
            found += walk_components([part["accessory"]])
        if isinstance(part.get("component"), dict):
            found += walk_components([part["component"]])
    return found


@dataclass
class Entitlement:
    """A purchase, seen by the application."""

    id: int
    sku_id: int
    user_id: int | None
    guild_id: int | None
    starts_at: float
    ends_at: float | None = None
    consumed: bool = False
    deleted: bool = False


@dataclass
class Sku:
    """Something the application sells. Type 5 is a subscription, 2 a durable, 3 a consumable."""

    id: int
    name: str
    type: int


class World:
    """All state of one loopback Discord."""

    def __init__(self, clock: SandboxClock) -> None:
        self.clock = clock
        self.ids = Snowflakes(clock)
        self.application_id = self.ids.next()
        self.bot = User(self.application_id, APPLICATION_NAME, bot=True)
        self.users: dict[int, User] = {self.bot.id: self.bot}
        self.guilds: dict[int, Guild] = {}
        self.channels: dict[int, Channel] = {}
        self.messages: dict[int, Message] = {}
        self.entitlements: dict[int, Entitlement] = {}
        self.skus: dict[int, Sku] = {}
        self.files: dict[str, Attachment] = {}

    def add_user(self, name: str) -> User:
        """A new person."""
        user = User(self.ids.next(), name)
        self.users[user.id] = user
        return user

    def add_guild(self, name: str, *, premium_tier: int = 0, file_limit: int | None = None, locale: str = "en-US") -> Guild:
        """A new guild with the bot inside; its owner is a person who never speaks."""
        owner = self.add_user(f"{name.lower()}-owner")
        guild = Guild(self.ids.next(), name, premium_tier, owner.id, file_limit=file_limit, locale=locale)
        guild.roles[guild.id] = Role(guild.id, "@everyone", EVERYONE_PERMISSIONS)
        guild.members[owner.id] = Member(owner)
        bot_role = Role(self.ids.next(), APPLICATION_NAME, EVERYONE_PERMISSIONS)
        guild.roles[bot_role.id] = bot_role
        guild.members[self.bot.id] = Member(self.bot, [bot_role.id])
        self.guilds[guild.id] = guild
        return guild

    def add_channel(self, guild: Guild, name: str, *, nsfw: bool = False) -> Channel:
        """A new text channel."""
        channel = Channel(self.ids.next(), ChannelType.TEXT, name, guild.id, nsfw=nsfw)
        self.channels[channel.id] = channel
        return channel

    def add_thread(self, parent: Channel, name: str, thread_id: int) -> Channel:
        """A public thread; one made from a message has that message's id."""
        thread = Channel(thread_id, ChannelType.PUBLIC_THREAD, name, parent.guild_id, parent_id=parent.id)
        self.channels[thread.id] = thread
        return thread

    def dm_with(self, user: User) -> Channel:
        """The one direct-message channel of the bot and a person."""
        for channel in self.channels.values():
            if channel.type is ChannelType.DM and channel.recipient is user:
                return channel
        channel = Channel(self.ids.next(), ChannelType.DM, "", None, recipient=user)
        self.channels[channel.id] = channel
        return channel

    def channel(self, channel_id: int) -> Channel:
        """The channel.

        Raises:
            ApiError: 10003.
        """
        channel = self.channels.get(channel_id)
        if channel is None or channel.deleted:
            raise unknown("Channel")
        return channel

    def message(self, channel_id: int, message_id: int) -> Message:
        """A message that still stands and is not ephemeral.

        Raises:
            ApiError: 10008.
        """
        message = self.messages.get(message_id)
        if message is None or message.channel_id != channel_id or message.deleted_at is not None or message.only_for is not None:
            raise unknown("Message")
        return message

    def upload_limit(self, channel: Channel) -> int:
        """Bytes per file in `channel`."""
        guild = self.guilds.get(channel.guild_id) if channel.guild_id is not None else None
        return DEFAULT_FILE_LIMITS[0] if guild is None else guild.upload_limit

    def permissions(self, channel: Channel, user: User) -> Permission:
        """Effective permissions: roles, then overwrites for everyone, roles and the member (Discord reference, "Permissions")."""
        if channel.guild_id is None:
            return EVERYONE_PERMISSIONS
        guild = self.guilds[channel.guild_id]
        member = guild.members.get(user.id)
        if member is None:
            return Permission(0)
        result = guild.roles[guild.id].permissions
        for role_id in member.role_ids:
            result |= guild.roles[role_id].permissions
        if user.id == guild.owner_id or Permission.ADMINISTRATOR in result:
            return ALL_PERMISSIONS
        holder = self.channels[channel.parent_id] if channel.parent_id is not None else channel
        for chosen in (
            [o for o in holder.overwrites if o.target_id == guild.id],
            [o for o in holder.overwrites if o.for_role and o.target_id in member.role_ids],
            [o for o in holder.overwrites if not o.for_role and o.target_id == user.id],
        ):
            for overwrite in chosen:
                result &= ~overwrite.deny
            for overwrite in chosen:
                result |= overwrite.allow
        return result if Permission.VIEW_CHANNEL in result else Permission(0)

    def history(self, channel_id: int, reader: User | None = None) -> list[Message]:
        """Messages of a channel, oldest first, without deleted ones; ephemeral ones only for their one reader."""
        found = [
            m
            for m in self.messages.values()
            if m.channel_id == channel_id
            and m.deleted_at is None
            and (m.only_for is None or (reader is not None and m.only_for == reader.id))
        ]
        return sorted(found, key=lambda m: m.id)
