"""Interactions: delivery, the 3 s acknowledgement, callbacks, tokens of 15 minutes, deferred answers and followups."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from bot.sandbox.core import Core
from bot.sandbox.errors import ApiError, invalid_form, unknown
from bot.sandbox.gateway import Gateway
from bot.sandbox.limits import CALLBACKS_FOR, choice_problems, modal_problems
from bot.sandbox.messages import Body, Messages
from bot.sandbox.payloads import app_permissions, channel_json, entitlement_json, member_json, message_json, user_json
from bot.sandbox.world import Channel, ChannelType, Message, MessageFlag, User

Json = dict[str, Any]

ACK_DEADLINE_S = 3.0
TOKEN_LIFETIME_S = 15 * 60.0


class Kind(IntEnum):
    """Discord's interaction types that reach a gateway bot."""

    COMMAND = 2
    COMPONENT = 3
    AUTOCOMPLETE = 4
    MODAL_SUBMIT = 5


class Ack(IntEnum):
    """Discord's callback types."""

    MESSAGE = 4
    DEFERRED_MESSAGE = 5
    DEFERRED_UPDATE = 6
    UPDATE = 7
    CHOICES = 8
    MODAL = 9


@dataclass
class Interaction:
    """One press, command, keystroke or submit of a person, and all the bot made of it."""

    id: int
    token: str
    kind: Kind
    user: User
    channel_id: int
    name: str  # command name, or custom_id
    data: Json
    created_at: float
    source: Message | None = None  # the message whose button was pressed
    sent: float = 0.0  # time.monotonic()
    ack: Ack | None = None
    ack_ms: float | None = None
    failed: bool = False  # "The application did not respond"
    late_acks: int = 0
    refused_by_client: str | None = None
    original: Message | None = None
    followups: list[Message] = field(default_factory=list)
    token_calls: int = 0
    modal: Json | None = None
    choices: list[Json] | None = None

    @property
    def answered(self) -> bool:
        """True once there is something to look at: a message that is no longer "thinking", choices, a modal, or a failure."""
        if self.failed or self.refused_by_client is not None:
            return True
        if self.ack is None:
            return False
        if self.ack is Ack.DEFERRED_MESSAGE:
            return self.original is None or not self.original.loading or self.original.deleted_at is not None
        if self.ack is Ack.DEFERRED_UPDATE:
            return self.token_calls > 0
        return True

    @property
    def replies(self) -> list[Message]:
        """Messages made for this interaction that still stand, oldest first."""
        made = [self.original] if self.original is not None and self.original is not self.source else []
        return [m for m in (*made, *self.followups) if m.deleted_at is None]


class Interactions:
    """All interactions of one loopback Discord."""

    def __init__(self, core: Core, gateway: Gateway, messages: Messages) -> None:
        self._core = core
        self._gateway = gateway
        self._messages = messages
        self.all: dict[int, Interaction] = {}
        self._timers: set[asyncio.TimerHandle] = set()

    # -- from people --------------------------------------------------------------------------------------------------

    def start(self, kind: Kind, user: User, channel: Channel, name: str, data: Json, *, source: Message | None = None) -> Interaction:
        """Deliver an interaction to the bot and start its 3 seconds; without a live session it fails at once."""
        core = self._core
        interaction = Interaction(
            core.world.ids.next(), secrets.token_urlsafe(48), kind, user, channel.id, name, data, core.clock.now(), source=source
        )
        self.all[interaction.id] = interaction
        interaction.sent = time.monotonic()
        reached = self._gateway.reaches_somebody(channel.guild_id)
        self._gateway.dispatch("INTERACTION_CREATE", self._payload(interaction, channel), guild_id=channel.guild_id)
        timer = asyncio.get_running_loop().call_later(ACK_DEADLINE_S, self._expire, interaction, reached)
        self._timers.add(timer)
        return interaction

    def refuse(self, kind: Kind, user: User, channel: Channel, name: str, data: Json, reason: str) -> Interaction:
        """Journal what a person's own client did not let through."""
        core = self._core
        interaction = Interaction(core.world.ids.next(), "", kind, user, channel.id, name, data, core.clock.now(), refused_by_client=reason)
        self.all[interaction.id] = interaction
        return interaction

    def close(self) -> None:
        """Cancel running deadlines."""
        for timer in self._timers:
            timer.cancel()

    def _expire(self, interaction: Interaction, reached: bool) -> None:
        if interaction.ack is None:
            interaction.failed = True
            channel = self._core.world.channels[interaction.channel_id]
            if reached and self._gateway.reaches_somebody(channel.guild_id):
                self._core.violation(f"interaction {interaction.name}", "not acknowledged within 3 s")
            self._core.bell.ring()

    def _payload(self, interaction: Interaction, channel: Channel) -> Json:
        world = self._core.world
        user = interaction.user
        guild = world.guilds.get(channel.guild_id) if channel.guild_id is not None else None
        owned = [
            e
            for e in world.entitlements.values()
            if not e.deleted
            and (e.ends_at is None or e.ends_at > self._core.clock.now())
            and (e.user_id == user.id if e.guild_id is None else guild is not None and e.guild_id == guild.id)
        ]
        body: Json = {
            "id": str(interaction.id),
            "application_id": str(world.application_id),
            "type": int(interaction.kind),
            "token": interaction.token,
            "version": 1,
            "data": interaction.data,
            "channel_id": str(channel.id),
            "channel": channel_json(channel, world),
            "locale": user.locale,
            "app_permissions": str(app_permissions(world, channel)),
            "attachment_size_limit": max(user.upload_limit, world.upload_limit(channel)),
            "entitlements": [entitlement_json(e, world) for e in owned],
            "entitlement_sku_ids": [str(e.sku_id) for e in owned],
        }
        if guild is None:
            body |= {"user": user_json(user), "context": 1, "authorizing_integration_owners": {"1": str(user.id)}}
        else:
            permissions = int(world.permissions(channel, user))
            body |= {
                "guild_id": str(guild.id),
                "guild_locale": guild.locale,
                "guild": {"id": str(guild.id), "locale": guild.locale, "features": []},
                "member": member_json(guild.members[user.id], world, guild, permissions=permissions),
                "context": 0,
                "authorizing_integration_owners": {"0": str(guild.id)},
            }
        if interaction.source is not None:
            body["message"] = message_json(interaction.source, world)
        return body

    # -- from the bot -------------------------------------------------------------------------------------------------

    def callback(self, interaction_id: int, token: str, body: Body) -> Json:
        """POST /interactions/{id}/{token}/callback; the answer is the documented callback response.

        Raises:
            ApiError: 10062, 40060, 50035, and what creating a message may raise.
        """
        interaction = self.all.get(interaction_id)
        if interaction is None or not secrets.compare_digest(interaction.token.encode(), token.encode()):
            raise unknown("Interaction")
        elapsed_s = time.monotonic() - interaction.sent
        if interaction.failed or elapsed_s > ACK_DEADLINE_S:
            interaction.late_acks += 1
            raise unknown("Interaction")
        if interaction.ack is not None:
            self._core.violation(f"interaction {interaction.name}", "acknowledged twice")
            raise ApiError(400, 40060, "Interaction has already been acknowledged.")
        kind = int(body.json.get("type") or 0)
        allowed = CALLBACKS_FOR[int(interaction.kind)]
        if kind not in allowed or (kind in (6, 7) and interaction.source is None):
            raise invalid_form([("type", f"Callback type {kind} does not answer an interaction of type {int(interaction.kind)}.")])
        data = body.json.get("data") or {}
        answer: Json = {"interaction": {"id": str(interaction.id), "type": int(interaction.kind)}}
        message = self._apply(interaction, Ack(kind), data, body)
        interaction.ack = Ack(kind)
        interaction.ack_ms = elapsed_s * 1000
        if message is not None:
            answer["interaction"] |= {
                "response_message_id": str(message.id),
                "response_message_loading": message.loading,
                "response_message_ephemeral": message.only_for is not None,
            }
            answer["resource"] = {"type": kind, "message": message_json(message, self._core.world)}
        self._core.bell.ring()
        return answer

    def _apply(self, interaction: Interaction, ack: Ack, data: Json, body: Body) -> Message | None:
        """Do what the callback says; the message it made or changed, if any."""
        content = Body(data, body.uploads)
        if ack in (Ack.MESSAGE, Ack.DEFERRED_MESSAGE):
            interaction.original = self._create(interaction, content, loading=ack is Ack.DEFERRED_MESSAGE)
            return interaction.original
        if ack in (Ack.UPDATE, Ack.DEFERRED_UPDATE):
            interaction.original = interaction.source
            if ack is Ack.UPDATE and interaction.source is not None:
                self._messages.edit(interaction.source, content, limit=self._limit(interaction))
                return interaction.source
            return None
        if ack is Ack.CHOICES:
            choices = data.get("choices") or []
            _check(choice_problems(choices))
            interaction.choices = choices
        elif ack is Ack.MODAL:
            _check(modal_problems(data))
            interaction.modal = data
        return None

    def _create(self, interaction: Interaction, body: Body, *, loading: bool = False, private: bool | None = None) -> Message:
        core = self._core
        if private is None:
            private = MessageFlag.EPHEMERAL in MessageFlag(int((body.json or {}).get("flags") or 0))
        return self._messages.create(
            core.world.channel(interaction.channel_id),
            core.world.bot,
            body,
            limit=self._limit(interaction),
            only_for=interaction.user.id if private else None,
            interaction_id=interaction.id,
            loading=loading,
        )

    def _limit(self, interaction: Interaction) -> int:
        channel = self._core.world.channel(interaction.channel_id)
        return max(interaction.user.upload_limit, self._core.world.upload_limit(channel))

    def _live(self, token: str) -> Interaction:
        """The interaction whose token may still be used.

        Raises:
            ApiError: 10015, 50027.
        """
        interaction = next((i for i in self.all.values() if i.token and secrets.compare_digest(i.token.encode(), token.encode())), None)
        if interaction is None or interaction.ack is None:
            raise unknown("Webhook")
        if self._core.clock.now() - interaction.created_at > TOKEN_LIFETIME_S:
            raise ApiError(401, 50027, "Invalid Webhook Token")
        return interaction

    def followup(self, token: str, body: Body) -> Message:
        """POST /webhooks/{application}/{token}: a new message, or the content of the deferred one.

        Raises:
            ApiError: 10015, 50027, and what creating a message may raise.
        """
        interaction = self._live(token)
        original = interaction.original
        if interaction.ack is Ack.DEFERRED_MESSAGE and original is not None and original.loading and original.deleted_at is None:
            self._messages.edit(original, body, limit=self._limit(interaction))
            message = original
        else:
            message = self._create(interaction, body)
            interaction.followups.append(message)
        interaction.token_calls += 1
        self._core.bell.ring()
        return message

    def found(self, token: str, which: str) -> Message:
        """The message `@original` or an id stands for.

        Raises:
            ApiError: 10015, 50027, 10008.
        """
        interaction = self._live(token)
        if which == "@original":
            if interaction.original is None or interaction.original.deleted_at is not None:
                raise unknown("Message")
            return interaction.original
        owners = {i.id for i in self.all.values() if i.user is interaction.user and i.channel_id == interaction.channel_id}
        return self._messages.by_token(interaction.channel_id, int(which), owners)

    def edit(self, token: str, which: str, body: Body) -> Message:
        """PATCH of a message by token.

        Raises:
            ApiError: as `found`, and what editing may raise.
        """
        interaction = self._live(token)
        message = self.found(token, which)
        self._messages.edit(message, body, limit=self._limit(interaction))
        interaction.token_calls += 1
        self._core.bell.ring()
        return message

    def delete(self, token: str, which: str) -> None:
        """DELETE of a message by token.

        Raises:
            ApiError: as `found`.
        """
        interaction = self._live(token)
        self._messages.delete(self.found(token, which))
        interaction.token_calls += 1
        self._core.bell.ring()


def _check(problems: list[tuple[str, str]]) -> None:
    if problems:
        raise invalid_form(problems)


def is_private(channel: Channel) -> bool:
    """True for a direct message."""
    return channel.type is ChannelType.DM
