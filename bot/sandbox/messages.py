"""Creating, editing and deleting messages: limits, files, Components V2, nonces, mentions, permissions, gateway events."""

from __future__ import annotations

import copy
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from bot.sandbox.cdn import store_file
from bot.sandbox.core import Core
from bot.sandbox.errors import ApiError, invalid_form, missing_access, missing_permissions, unknown
from bot.sandbox.gateway import INTENT_DIRECT_MESSAGES, INTENT_GUILD_MESSAGES, INTENT_MESSAGE_CONTENT, Gateway
from bot.sandbox.limits import message_problems
from bot.sandbox.payloads import message_json
from bot.sandbox.permissions import Permission
from bot.sandbox.world import Attachment, Channel, ChannelType, Message, MessageFlag, User, walk_components

Json = dict[str, Any]

NONCE_WINDOW_S = 180.0
OLD_MESSAGE_S = 3600.0
OLD_EDITS = (3, 6.0)
"""Edits of messages older than an hour: this many per so many seconds and channel, above it 429 with code 30046."""

_BOT_FLAGS = MessageFlag.SUPPRESS_EMBEDS | MessageFlag.EPHEMERAL | MessageFlag.SUPPRESS_NOTIFICATIONS | MessageFlag.COMPONENTS_V2


@dataclass
class Upload:
    """One file of a request; `field_id` is n of `files[n]`."""

    field_id: int
    filename: str
    data: bytes = field(repr=False)


@dataclass
class Body:
    """A request body: the JSON part and the files beside it."""

    json: Any
    uploads: list[Upload] = field(default_factory=list)


class Messages:
    """All messages of one loopback Discord, from the bot's side of the API."""

    def __init__(self, core: Core, gateway: Gateway) -> None:
        self._core = core
        self._gateway = gateway
        self._nonces: dict[tuple[int, int, str | int], tuple[float, int]] = {}
        self._old_edits: dict[int, deque[float]] = {}

    # -- what the bot may do ------------------------------------------------------------------------------------------

    def readable(self, channel_id: int) -> Channel:
        """A channel whose history the bot may read.

        Raises:
            ApiError: 10003, 50001.
        """
        channel = self._core.world.channel(channel_id)
        wanted = Permission.VIEW_CHANNEL | Permission.READ_MESSAGE_HISTORY
        if self._core.world.permissions(channel, self._core.world.bot) & wanted != wanted:
            raise missing_access()
        return channel

    def writable(self, channel_id: int, *, files: bool = False) -> Channel:
        """A channel the bot may post in.

        Raises:
            ApiError: 10003, 50001, 50013, 50007, 160005.
        """
        world = self._core.world
        channel = world.channel(channel_id)
        if channel.type is ChannelType.DM:
            if channel.recipient is not None and not channel.recipient.accepts_dms:
                raise ApiError(403, 50007, "Cannot send messages to this user")
            return channel
        allowed = world.permissions(channel, world.bot)
        if Permission.VIEW_CHANNEL not in allowed:
            raise missing_access()
        thread = channel.type is ChannelType.PUBLIC_THREAD
        if (Permission.SEND_MESSAGES_IN_THREADS if thread else Permission.SEND_MESSAGES) not in allowed:
            raise missing_permissions()
        if files and Permission.ATTACH_FILES not in allowed:
            raise missing_permissions()
        if thread and channel.locked:
            raise ApiError(400, 160005, "Thread is locked")
        return channel

    # -- channel routes -----------------------------------------------------------------------------------------------

    def post(self, channel_id: int, body: Body) -> Message:
        """POST /channels/{id}/messages; a nonce seen within the window returns the first message (or 10008 when that is gone).

        Raises:
            ApiError: whatever Discord would refuse it with.
        """
        core = self._core
        channel = self.writable(channel_id, files=bool(body.uploads))
        nonce = body.json.get("nonce")
        key = None if nonce is None or not body.json.get("enforce_nonce") else (core.world.bot.id, channel.id, nonce)
        if key is not None:
            seen = self._nonces.get(key)
            if seen is not None and core.clock.now() - seen[0] < NONCE_WINDOW_S:
                return core.world.message(channel.id, seen[1])
        message = self.create(channel, core.world.bot, body, limit=core.world.upload_limit(channel))
        if key is not None:
            self._nonces[key] = (core.clock.now(), message.id)
        return message

    def patch(self, channel_id: int, message_id: int, body: Body) -> Message:
        """PATCH of a channel message.

        Raises:
            ApiError: 10003, 10008, 50005, 30046, 50035, 40005.
        """
        core = self._core
        channel = self.readable(channel_id)
        message = core.world.message(channel_id, message_id)
        if message.author is not core.world.bot:
            raise ApiError(403, 50005, "Cannot edit a message authored by another user")
        if core.clock.now() - message.created_at > OLD_MESSAGE_S:
            self._slow_old_edits(channel_id)
        self.edit(message, body, limit=core.world.upload_limit(channel))
        return message

    def _slow_old_edits(self, channel_id: int) -> None:
        count, window_s = OLD_EDITS
        now = self._core.clock.now()
        recent = self._old_edits.setdefault(channel_id, deque())
        while recent and now - recent[0] > window_s:
            recent.popleft()
        if len(recent) >= count:
            raise RateLimitedError(window_s - (now - recent[0]), 30046, "Maximum number of edits to messages older than 1 hour reached")
        recent.append(now)

    def delete(self, message: Message) -> None:
        """Take a message down; it stays in the journal."""
        message.deleted_at = self._core.clock.now()
        self._announce("MESSAGE_DELETE", message, {"id": str(message.id), "channel_id": str(message.channel_id)})

    # -- shared by channel posts and interaction answers --------------------------------------------------------------

    def create(
        self,
        channel: Channel,
        author: User,
        body: Body,
        *,
        limit: int,
        only_for: int | None = None,
        interaction_id: int | None = None,
        loading: bool = False,
    ) -> Message:
        """A new message of `author`; `limit` is bytes per file.

        Raises:
            ApiError: 50035, 50006, 40005.
        """
        core = self._core
        data = body.json or {}
        flags = MessageFlag(int(data.get("flags") or 0)) & _BOT_FLAGS
        flags = flags | MessageFlag.EPHEMERAL if only_for is not None else flags & ~MessageFlag.EPHEMERAL
        if loading:
            flags |= MessageFlag.LOADING
        reference = (data.get("message_reference") or {}).get("message_id")
        message = Message(
            core.world.ids.next(),
            channel.id,
            author,
            core.clock.now(),
            flags=flags,
            only_for=only_for,
            nonce=data.get("nonce"),
            interaction_id=interaction_id,
            reference_id=None if reference is None else int(reference),
        )
        if not loading:
            self._fill(message, body, limit=limit, v2=message.v2, kept=[])
        core.world.messages[message.id] = message
        self._announce("MESSAGE_CREATE", message)
        return message

    def edit(self, message: Message, body: Body, *, limit: int) -> None:
        """Apply an edit; keys that are absent keep what the message shows.

        Raises:
            ApiError: 50035, 50006, 40005.
        """
        data = body.json or {}
        v2 = message.v2
        if data.get("flags") is not None:
            wanted = MessageFlag.COMPONENTS_V2 in MessageFlag(int(data["flags"]))
            if message.v2 and not wanted:
                raise invalid_form([("flags", "The 'IS_COMPONENTS_V2' flag cannot be removed.")])
            v2 = wanted
        kept = message.attachments
        if data.get("attachments") is not None:
            named = {str(a.get("id")) for a in data["attachments"]}
            kept = [a for a in message.attachments if str(a.id) in named]
        before = (message.content, message.components, message.embeds, message.attachments, message.flags)
        now = self._core.clock.now()
        message.snapshot(now)
        try:
            self._fill(message, body, limit=limit, v2=v2, kept=kept)
        except ApiError:
            message.content, message.components, message.embeds, message.attachments, message.flags = before
            message.history.pop()
            raise
        message.edited_at = now
        self._announce("MESSAGE_UPDATE", message)

    def _fill(self, message: Message, body: Body, *, limit: int, v2: bool, kept: list[Attachment]) -> None:
        """Check what the message would show, store its files and show it."""
        data = body.json or {}
        content = message.content if "content" not in data else data["content"] or ""
        components = message.components if "components" not in data else copy.deepcopy(data["components"] or [])
        embeds = message.embeds if "embeds" not in data else data["embeds"] or []
        shown = {**data, "content": content, "components": components, "embeds": embeds}
        problems = message_problems(shown, v2=v2, filenames=[u.filename for u in body.uploads], kept=[a.filename for a in kept])
        described = {str(a.get("id")): a for a in data.get("attachments") or []}
        problems += [
            (f"attachments.{u.field_id}", "The file is not listed in attachments.")
            for u in body.uploads
            if data.get("attachments") is not None and str(u.field_id) not in described
        ]
        if len(kept) + len(body.uploads) > 10:
            problems.append(("attachments", "Must be 10 or fewer in length."))
        if problems:
            raise invalid_form(problems)
        if any(len(u.data) > limit for u in body.uploads):
            raise ApiError(413, 40005, "Request entity too large")
        if not (content or components or embeds or kept or body.uploads):
            raise ApiError(400, 50006, "Cannot send an empty message")
        new = [
            store_file(
                self._core,
                str(described.get(str(u.field_id), {}).get("filename") or u.filename),
                u.data,
                channel_id=message.channel_id,
                description=described.get(str(u.field_id), {}).get("description"),
            )
            for u in body.uploads
        ]
        message.content, message.embeds = content, embeds
        message.attachments = [*kept, *new]
        message.components = _resolved(components, message.attachments)
        message.flags = (message.flags | MessageFlag.COMPONENTS_V2 if v2 else message.flags) & ~MessageFlag.LOADING
        message.pinged = self._mentioned(message, data)

    def _mentioned(self, message: Message, data: Json) -> list[int]:
        """User ids a message notifies: those it names, narrowed by `allowed_mentions`."""
        named = [int(n) for n in re.findall(r"<@!?(\d+)>", message.text)]
        allowed = data.get("allowed_mentions")
        if allowed is not None and "users" not in (allowed.get("parse") or []):
            listed = {int(i) for i in allowed.get("users") or []}
            named = [n for n in named if n in listed]
        return list(dict.fromkeys(n for n in named if n in self._core.world.users))

    def _announce(self, event: str, message: Message, data: Json | None = None) -> None:
        """Tell sessions that asked for message events, and whoever waits inside the sandbox."""
        self._core.bell.ring()
        if message.only_for is not None:
            return
        channel = self._core.world.channels[message.channel_id]
        intent = INTENT_GUILD_MESSAGES if channel.guild_id is not None else INTENT_DIRECT_MESSAGES
        payload = message_json(message, self._core.world) if data is None else data
        if message.author is not self._core.world.bot and channel.guild_id is not None and not self._sees_content():
            payload = payload | {"content": "", "embeds": [], "attachments": [], "components": []}
        if channel.guild_id is not None:
            payload = payload | {"guild_id": str(channel.guild_id)}
        self._gateway.dispatch(event, payload, intent=intent, guild_id=channel.guild_id)

    def _sees_content(self) -> bool:
        return any(s.intents & INTENT_MESSAGE_CONTENT for s in self._gateway.sessions.values())

    def by_token(self, channel_id: int, message_id: int, interaction_ids: set[int]) -> Message:
        """A message that an interaction's token may edit, ephemeral or not.

        Raises:
            ApiError: 10008.
        """
        message = self._core.world.messages.get(message_id)
        if message is None or message.deleted_at is not None or message.interaction_id not in interaction_ids:
            raise unknown("Message")
        if message.channel_id != channel_id:
            raise unknown("Message")
        return message


class RateLimitedError(ApiError):
    """429 with the seconds to wait."""

    def __init__(self, retry_after_s: float, code: int, message: str) -> None:
        super().__init__(429, code, message)
        self.retry_after_s = max(0.05, retry_after_s)


def _resolved(components: list[Json], attachments: list[Attachment]) -> list[Json]:
    """Components as Discord answers them: numbered, `attachment://` replaced by the file's URL and facts."""
    by_name = {a.filename: a for a in attachments}
    by_url = {a.url: a for a in attachments}
    parts = walk_components(components)
    used = {p["id"] for p in parts if p.get("id")}
    fresh = (n for n in range(1, 1000) if n not in used)
    for part in parts:
        if not part.get("id"):
            part["id"] = next(fresh)
        holders = [item.get("media") for item in part.get("items") or []] + [part.get("media"), part.get("file")]
        for media in holders:
            if isinstance(media, dict) and "url" in media:
                _resolve(media, by_name, by_url)
    return components


def _resolve(media: Json, by_name: dict[str, Attachment], by_url: dict[str, Attachment]) -> None:
    url = media["url"]
    found = by_name.get(url.removeprefix("attachment://")) if url.startswith("attachment://") else by_url.get(url)
    if found is None:
        media.update(proxy_url=url, loading_state=0)
        return
    media.update(
        url=found.url,
        proxy_url=found.url.replace("cdn.discordapp.com", "media.discordapp.net"),
        width=found.width,
        height=found.height,
        content_type=found.content_type,
        attachment_id=str(found.id),
        loading_state=2,
    )
