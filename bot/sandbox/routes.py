"""The calls the sandbox answers: one method per documented route, found by method and path."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from bot.sandbox.core import Call, Core
from bot.sandbox.errors import ApiError, invalid_form, missing_access, missing_permissions, unknown
from bot.sandbox.gateway import INTENT_GUILDS, RESUME_URL, Gateway
from bot.sandbox.interactions import Interactions
from bot.sandbox.limits import command_problems
from bot.sandbox.messages import Body, Messages
from bot.sandbox.payloads import (
    application_json,
    channel_json,
    entitlement_json,
    guild_json,
    member_json,
    message_json,
    sku_json,
    user_json,
)
from bot.sandbox.permissions import Permission
from bot.sandbox.world import ChannelType, Entitlement, Guild, World

Handler = Callable[..., Any]


class Routes:
    """Handlers get (call, body, *path parameters) and return the JSON to answer, or None for 204."""

    def __init__(self, core: Core, gateway: Gateway, messages: Messages, interactions: Interactions) -> None:
        self._core = core
        self._gateway = gateway
        self._messages = messages
        self._interactions = interactions
        number, word = r"(\d+)", r"([^/]+)"
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/gateway", self._gateway_url),
            ("GET", "/gateway/bot", self._gateway_url),
            ("GET", "/users/@me", lambda _c, _b: user_json(core.world.bot)),
            ("GET", f"/users/{number}", self._user),
            ("POST", "/users/@me/channels", self._open_dm),
            ("GET", "/oauth2/applications/@me", lambda _c, _b: application_json(core.world)),
            ("GET", "/applications/@me", lambda _c, _b: application_json(core.world)),
            ("GET", f"/applications/{number}/commands", lambda _c, _b, _a: core.commands),
            ("PUT", f"/applications/{number}/commands", self._put_commands),
            ("POST", f"/applications/{number}/commands", self._post_command),
            ("GET", f"/applications/{number}/guilds/{number}/commands", lambda _c, _b, _a, g: core.guild_commands.get(int(g), [])),
            ("PUT", f"/applications/{number}/guilds/{number}/commands", self._put_guild_commands),
            ("GET", f"/applications/{number}/skus", lambda _c, _b, _a: [sku_json(s, core.world) for s in core.world.skus.values()]),
            ("GET", f"/applications/{number}/entitlements", self._entitlements),
            ("POST", f"/applications/{number}/entitlements", self._test_entitlement),
            ("GET", f"/applications/{number}/entitlements/{number}", self._entitlement),
            ("DELETE", f"/applications/{number}/entitlements/{number}", self._delete_entitlement),
            ("POST", f"/applications/{number}/entitlements/{number}/consume", self._consume),
            ("POST", f"/interactions/{number}/{word}/callback", self._callback),
            ("POST", f"/webhooks/{number}/{word}", self._followup),
            ("GET", f"/webhooks/{number}/{word}/messages/(@original|\\d+)", self._get_by_token),
            ("PATCH", f"/webhooks/{number}/{word}/messages/(@original|\\d+)", self._edit_by_token),
            ("DELETE", f"/webhooks/{number}/{word}/messages/(@original|\\d+)", self._delete_by_token),
            ("GET", f"/channels/{number}", self._channel),
            ("GET", f"/channels/{number}/messages", self._history),
            ("POST", f"/channels/{number}/messages", self._post),
            ("GET", f"/channels/{number}/messages/{number}", self._message),
            ("PATCH", f"/channels/{number}/messages/{number}", self._patch),
            ("DELETE", f"/channels/{number}/messages/{number}", self._delete),
            ("POST", f"/channels/{number}/messages/{number}/threads", self._thread_from_message),
            ("POST", f"/channels/{number}/threads", self._thread),
            ("PUT", f"/channels/{number}/thread-members/@me", self._join_thread),
            ("POST", f"/channels/{number}/typing", self._typing),
            ("GET", f"/guilds/{number}", self._guild),
            ("GET", f"/guilds/{number}/channels", self._guild_channels),
            ("GET", f"/guilds/{number}/members/{number}", self._member),
        ]
        self._table = [(method, re.compile(f"^{pattern}$"), handler) for method, pattern, handler in table]

    def find(self, method: str, path: str) -> tuple[Handler | None, tuple[str, ...]]:
        """The handler of a call and its path parameters, or (None, ())."""
        for wanted, pattern, handler in self._table:
            match = pattern.match(path)
            if wanted == method and match is not None:
                return handler, match.groups()
        return None, ()

    @property
    def _world(self) -> World:
        return self._core.world

    # -- start-up -----------------------------------------------------------------------------------------------------

    def _gateway_url(self, _call: Call, _body: Body) -> Any:
        limit = {"total": 1000, "remaining": 1000, "reset_after": 0, "max_concurrency": 1}
        return {"url": RESUME_URL, "shards": 1, "session_start_limit": limit}

    def _user(self, _call: Call, _body: Body, user_id: str) -> Any:
        if int(user_id) not in self._world.users:
            raise unknown("User")
        return user_json(self._world.users[int(user_id)])

    def _open_dm(self, _call: Call, body: Body) -> Any:
        user = self._world.users.get(int(body.json.get("recipient_id") or 0))
        if user is None:
            raise unknown("User")
        return channel_json(self._world.dm_with(user), self._world)

    def _registered(self, commands: list[dict[str, Any]], guild_id: int | None) -> list[dict[str, Any]]:
        problems = command_problems(commands)
        if problems:
            raise invalid_form(problems)
        return [
            {
                "type": 1,
                "description": "",
                "options": [],
                **command,
                "id": str(self._world.ids.next()),
                "application_id": str(self._world.application_id),
                "version": str(self._world.ids.next()),
                "default_member_permissions": command.get("default_member_permissions"),
                **({} if guild_id is None else {"guild_id": str(guild_id)}),
            }
            for command in commands
        ]

    def _put_commands(self, _call: Call, body: Body, _app: str) -> Any:
        self._core.commands = self._registered(body.json, None)
        self._core.commands_synced = True
        return self._core.commands

    def _post_command(self, _call: Call, body: Body, _app: str) -> Any:
        made = self._registered([body.json], None)[0]
        self._core.commands = [*(c for c in self._core.commands if c["name"] != made["name"]), made]
        return made

    def _put_guild_commands(self, _call: Call, body: Body, _app: str, guild_id: str) -> Any:
        self._core.guild_commands[int(guild_id)] = self._registered(body.json, int(guild_id))
        self._core.commands_synced = True
        return self._core.guild_commands[int(guild_id)]

    # -- money --------------------------------------------------------------------------------------------------------

    def _entitlements(self, call: Call, _body: Body, _app: str) -> Any:
        query = call.query
        found = [e for e in self._world.entitlements.values() if not e.deleted]
        if "user_id" in query:
            found = [e for e in found if e.user_id == int(query["user_id"])]
        if "guild_id" in query:
            found = [e for e in found if e.guild_id == int(query["guild_id"])]
        if query.get("exclude_ended") in ("1", "true"):
            found = [e for e in found if e.ends_at is None or e.ends_at > self._core.clock.now()]
        if "after" in query:
            found = [e for e in found if e.id > int(query["after"])]
        return [entitlement_json(e, self._world) for e in found[: int(query.get("limit", 100))]]

    def _owned(self, entitlement_id: str) -> Entitlement:
        found = self._world.entitlements.get(int(entitlement_id))
        if found is None or found.deleted:
            raise unknown("Entitlement")
        return found

    def _entitlement(self, _call: Call, _body: Body, _app: str, entitlement_id: str) -> Any:
        return entitlement_json(self._owned(entitlement_id), self._world)

    def _test_entitlement(self, _call: Call, body: Body, _app: str) -> Any:
        owner = int(body.json["owner_id"])
        for_guild = body.json["owner_type"] == 1
        made = self.grant(int(body.json["sku_id"]), user_id=None if for_guild else owner, guild_id=owner if for_guild else None)
        return entitlement_json(made, self._world)

    def _delete_entitlement(self, _call: Call, _body: Body, _app: str, entitlement_id: str) -> Any:
        found = self._owned(entitlement_id)
        found.deleted = True
        self._gateway.dispatch("ENTITLEMENT_DELETE", entitlement_json(found, self._world))

    def _consume(self, _call: Call, _body: Body, _app: str, entitlement_id: str) -> Any:
        self._owned(entitlement_id).consumed = True

    def grant(self, sku_id: int, *, user_id: int | None, guild_id: int | None, ends_at: float | None = None) -> Entitlement:
        """A purchase by a person or for a guild, announced to the bot."""
        made = Entitlement(self._world.ids.next(), sku_id, user_id, guild_id, self._core.clock.now(), ends_at)
        self._world.entitlements[made.id] = made
        self._gateway.dispatch("ENTITLEMENT_CREATE", entitlement_json(made, self._world))
        return made

    # -- interactions -------------------------------------------------------------------------------------------------

    def _callback(self, call: Call, body: Body, interaction_id: str, token: str) -> Any:
        made = self._interactions.callback(int(interaction_id), token, body)
        return made if call.query.get("with_response") in ("1", "true") else None

    def _own_webhook(self, application_id: str) -> None:
        if int(application_id) != self._world.application_id:
            raise unknown("Webhook")

    def _followup(self, call: Call, body: Body, application_id: str, token: str) -> Any:
        self._own_webhook(application_id)
        message = self._interactions.followup(token, body)
        return message_json(message, self._world) if call.query.get("wait") != "0" else None

    def _get_by_token(self, _call: Call, _body: Body, application_id: str, token: str, which: str) -> Any:
        self._own_webhook(application_id)
        return message_json(self._interactions.found(token, which), self._world)

    def _edit_by_token(self, _call: Call, body: Body, application_id: str, token: str, which: str) -> Any:
        self._own_webhook(application_id)
        return message_json(self._interactions.edit(token, which, body), self._world)

    def _delete_by_token(self, _call: Call, _body: Body, application_id: str, token: str, which: str) -> Any:
        self._own_webhook(application_id)
        self._interactions.delete(token, which)

    # -- channels -----------------------------------------------------------------------------------------------------

    def _channel(self, _call: Call, _body: Body, channel_id: str) -> Any:
        channel = self._world.channel(int(channel_id))
        if Permission.VIEW_CHANNEL not in self._world.permissions(channel, self._world.bot):
            raise missing_access()
        return channel_json(channel, self._world)

    def _history(self, call: Call, _body: Body, channel_id: str) -> Any:
        channel = self._messages.readable(int(channel_id))
        found = self._world.history(channel.id)
        limit = int(call.query.get("limit", 50))
        if not 1 <= limit <= 100:
            raise invalid_form([("limit", "Must be between 1 and 100.")])
        if "after" in call.query:
            found = [m for m in found if m.id > int(call.query["after"])][:limit]
        elif "before" in call.query:
            found = [m for m in found if m.id < int(call.query["before"])][-limit:]
        elif "around" in call.query:
            middle = int(call.query["around"])
            found = sorted(sorted(found, key=lambda m: abs(m.id - middle))[:limit], key=lambda m: m.id)
        else:
            found = found[-limit:]
        return [message_json(m, self._world) for m in reversed(found)]

    def _post(self, _call: Call, body: Body, channel_id: str) -> Any:
        return message_json(self._messages.post(int(channel_id), body), self._world)

    def _message(self, _call: Call, _body: Body, channel_id: str, message_id: str) -> Any:
        channel = self._messages.readable(int(channel_id))
        return message_json(self._world.message(channel.id, int(message_id)), self._world)

    def _patch(self, _call: Call, body: Body, channel_id: str, message_id: str) -> Any:
        return message_json(self._messages.patch(int(channel_id), int(message_id), body), self._world)

    def _delete(self, _call: Call, _body: Body, channel_id: str, message_id: str) -> Any:
        channel = self._messages.readable(int(channel_id))
        message = self._world.message(channel.id, int(message_id))
        if message.author is not self._world.bot and Permission.MANAGE_MESSAGES not in self._world.permissions(channel, self._world.bot):
            raise missing_permissions()
        self._messages.delete(message)

    def _thread_from_message(self, _call: Call, body: Body, channel_id: str, message_id: str) -> Any:
        parent = self._messages.readable(int(channel_id))
        message = self._world.message(parent.id, int(message_id))
        if message.id in self._world.channels:
            raise ApiError(400, 160004, "A thread has already been created for this message")
        return self._make_thread(parent.id, body, message.id)

    def _thread(self, _call: Call, body: Body, channel_id: str) -> Any:
        return self._make_thread(int(channel_id), body, self._world.ids.next())

    def _make_thread(self, channel_id: int, body: Body, thread_id: int) -> Any:
        parent = self._messages.writable(channel_id)
        if Permission.CREATE_PUBLIC_THREADS not in self._world.permissions(parent, self._world.bot):
            raise missing_permissions()
        duration = body.json.get("auto_archive_duration")
        if duration not in (None, 60, 1440, 4320, 10080):
            raise invalid_form([("auto_archive_duration", "Value must be one of (60, 1440, 4320, 10080).")])
        thread = self._world.add_thread(parent, str(body.json["name"]), thread_id)
        payload = channel_json(thread, self._world)
        self._gateway.dispatch("THREAD_CREATE", payload | {"newly_created": True}, intent=INTENT_GUILDS, guild_id=thread.guild_id)
        return payload

    def _join_thread(self, _call: Call, _body: Body, channel_id: str) -> Any:
        if self._world.channel(int(channel_id)).type is not ChannelType.PUBLIC_THREAD:
            raise ApiError(400, 50024, "Cannot execute action on this channel type")

    def _typing(self, _call: Call, _body: Body, channel_id: str) -> Any:
        self._messages.writable(int(channel_id))

    # -- guilds -------------------------------------------------------------------------------------------------------

    def _inside(self, guild_id: str) -> Guild:
        guild = self._world.guilds.get(int(guild_id))
        if guild is None or not guild.bot_inside:
            raise unknown("Guild")
        return guild

    def _guild(self, _call: Call, _body: Body, guild_id: str) -> Any:
        return guild_json(self._inside(guild_id), self._world)

    def _guild_channels(self, _call: Call, _body: Body, guild_id: str) -> Any:
        return guild_json(self._inside(guild_id), self._world)["channels"]

    def _member(self, _call: Call, _body: Body, guild_id: str, user_id: str) -> Any:
        guild = self._inside(guild_id)
        if int(user_id) not in guild.members:
            raise unknown("Member")
        return member_json(guild.members[int(user_id)], self._world, guild)
