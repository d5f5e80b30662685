"""Scripted people: they type commands, press buttons, fill in modals and see what their client would show them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.sandbox.cdn import store_file
from bot.sandbox.core import Core
from bot.sandbox.errors import ClientRefusedError, ScenarioError
from bot.sandbox.interactions import ACK_DEADLINE_S, Interaction, Interactions, Kind
from bot.sandbox.messages import Body, Messages, Upload
from bot.sandbox.payloads import attachment_json, channel_json, member_json, message_json, role_json, user_json
from bot.sandbox.permissions import Permission
from bot.sandbox.world import Attachment, Channel, Message, User, walk_components

REFUSAL_COLOUR = 0xC0392B
"""Accent colour of every card that refuses something; the bot's `bot/ui/cards.py` uses the same value."""

SETTLE_S = 60.0
MENTIONABLE = {6, 7, 8}
"""Option types that name a person, a channel or a role; scenarios write the name."""
Json = dict[str, Any]
Value = str | int | float | bool | Path


@dataclass
class Outcome:
    """What a person got for one thing they did."""

    interaction: Interaction
    person: Person

    @property
    def failed(self) -> bool:
        """True for "The application did not respond"."""
        return self.interaction.failed

    @property
    def ack_ms(self) -> float | None:
        """Milliseconds until the acknowledgement."""
        return self.interaction.ack_ms

    @property
    def replies(self) -> list[Message]:
        """Answers to it that this person can see, oldest first."""
        return [m for m in self.interaction.replies if m.only_for in (None, self.person.account.id)]

    @property
    def reply(self) -> Message:
        """The newest answer, or the message that the press changed.

        Raises:
            ScenarioError: nothing was answered.
        """
        shown = self.replies or ([self.interaction.source] if self.interaction.source is not None else [])
        if not shown:
            raise ScenarioError(f"{self.interaction.name} has no answer")
        return shown[-1]

    @property
    def text(self) -> str:
        """Everything readable in the answers."""
        return "\n".join(m.text for m in self.replies)

    @property
    def choices(self) -> list[Json]:
        """Autocomplete choices."""
        return self.interaction.choices or []

    @property
    def modal(self) -> Json | None:
        """The modal that opened."""
        return self.interaction.modal

    @property
    def refused(self) -> bool:
        """True when the person's client, or a card in the refusal colour, said no."""
        return self.interaction.refused_by_client is not None or any(m.accent == REFUSAL_COLOUR for m in self.replies)


class Person:
    """One person in one guild, as their client behaves."""

    def __init__(self, account: User, core: Core, interactions: Interactions, messages: Messages) -> None:
        self.account = account
        self.name = account.name
        self._core = core
        self._interactions = interactions
        self._messages = messages

    # -- doing --------------------------------------------------------------------------------------------------------

    async def command(
        self, name: str, options: Mapping[str, Value] | None = None, *, channel: str = "general", settle_s: float = SETTLE_S
    ) -> Outcome:
        """Run a slash command ("jobs" or "admin block"); a `Path` is uploaded for an attachment option. Waits for the answer.

        Raises:
            ScenarioError: no such command, option or channel.
            ClientRefusedError: Discord's client would not send it; also journalled.
        """
        where = self._channel(channel)
        command, definitions, nesting = self._definition(name)
        given = dict(options or {})
        try:
            self._may(where, command)
            data, attachments, named = self._option_data(given, definitions, where)
        except ClientRefusedError as refusal:
            self._interactions.refuse(
                Kind.COMMAND, self.account, where, name, {"options": {k: str(v) for k, v in given.items()}}, str(refusal)
            )
            raise
        payload = self._command_data(command, nesting, data)
        if attachments:
            named["attachments"] = {str(a.id): attachment_json(a) for a in attachments}
        if named:
            payload["resolved"] = named
        return await self._settled(self._interactions.start(Kind.COMMAND, self.account, where, name, payload), settle_s)

    async def use(self, message: Message, name: str, *, settle_s: float = SETTLE_S) -> Outcome:
        """Choose an entry of Apps in the menu of a message.

        Raises:
            ScenarioError: there is no such entry, or this person cannot see the message.
        """
        command = next((c for c in self._core.commands if c["name"] == name and c["type"] == 3), None)
        if command is None or message.deleted_at is not None or message.only_for not in (None, self.account.id):
            raise ScenarioError(f"{self.name} has no {name!r} on that message")
        where = self._core.world.channel(message.channel_id)
        shown = {"messages": {str(message.id): message_json(message, self._core.world)}}
        data: Json = {"id": command["id"], "name": name, "type": 3, "target_id": str(message.id), "resolved": shown}
        return await self._settled(self._interactions.start(Kind.COMMAND, self.account, where, name, data), settle_s)

    async def autocomplete(
        self, name: str, option: str, text: str, others: Mapping[str, Value] | None = None, *, channel: str = "general"
    ) -> Outcome:
        """Type `text` into an option that completes, with other options already filled in.

        Raises:
            ScenarioError: the option does not complete.
        """
        where = self._channel(channel)
        command, definitions, nesting = self._definition(name)
        focused = definitions.get(option)
        if focused is None or not focused.get("autocomplete"):
            raise ScenarioError(f"/{name} has no completing option {option!r}")
        data = [{"type": definitions[key]["type"], "name": key, "value": value} for key, value in (others or {}).items()]
        data.append({"type": focused["type"], "name": option, "value": text, "focused": True})
        payload = self._command_data(command, nesting, data)
        return await self._settled(self._interactions.start(Kind.AUTOCOMPLETE, self.account, where, name, payload), ACK_DEADLINE_S + 1)

    async def press(self, message: Message, button: str, *, settle_s: float = SETTLE_S) -> Outcome:
        """Press a button, found by its verb (`job:<verb>:<id>`), custom id or label.

        Raises:
            ScenarioError: the message has no such button, or this person cannot see the message.
            ClientRefusedError: the button is disabled.
        """
        if message.deleted_at is not None or message.only_for not in (None, self.account.id):
            raise ScenarioError(f"{self.name} cannot see that message")
        part = find_button(message, button)
        if part is None:
            labels = ", ".join(str(b.get("label") or b.get("custom_id")) for b in message.buttons) or "none"
            raise ScenarioError(f"the message has no button {button!r}; it has: {labels}")
        where = self._core.world.channel(message.channel_id)
        data = {"custom_id": part["custom_id"], "component_type": 2, "id": part.get("id", 0)}
        if part.get("disabled"):
            self._interactions.refuse(Kind.COMPONENT, self.account, where, part["custom_id"], data, "the button is disabled")
            raise ClientRefusedError(f"the button {button!r} is disabled")
        started = self._interactions.start(Kind.COMPONENT, self.account, where, part["custom_id"], data, source=message)
        return await self._settled(started, settle_s)

    async def submit_modal(self, opened: Outcome, values: Mapping[str, Value | Sequence[Path]], *, settle_s: float = SETTLE_S) -> Outcome:
        """Fill in the modal that `opened` shows and submit it; fields are named by custom id or label, files are lists of paths.

        Raises:
            ScenarioError: there is no modal or no such field.
            ClientRefusedError: a required field is empty or there are too many files.
        """
        modal = opened.modal
        if modal is None:
            raise ScenarioError("no modal is open")
        where = self._core.world.channel(opened.interaction.channel_id)
        attachments: list[Attachment] = []
        left = dict(values)
        components: list[Json] = []
        for label in modal["components"]:
            field = label.get("component")
            if not isinstance(field, dict):
                continue
            key = next((k for k in (field["custom_id"], label.get("label")) if k in left), None)
            value = None if key is None else left.pop(key)
            filled = self._fill_field(field, str(label.get("label")), value, attachments)
            components.append({"type": 18, "id": label.get("id", 0), "component": filled})
        if left:
            raise ScenarioError(f"the modal has no field {', '.join(map(repr, left))}")
        data: Json = {"custom_id": modal["custom_id"], "components": components}
        if attachments:
            data["resolved"] = {"attachments": {str(a.id): attachment_json(a) for a in attachments}}
        started = self._interactions.start(
            Kind.MODAL_SUBMIT, self.account, where, modal["custom_id"], data, source=opened.interaction.source
        )
        return await self._settled(started, settle_s)

    def say(self, text: str, files: Sequence[Path] = (), *, channel: str = "general") -> Message:
        """Post an ordinary message, which the bot is not meant to read."""
        uploads = [Upload(n, path.name, path.read_bytes()) for n, path in enumerate(files)]
        return self._messages.create(
            self._channel(channel), self.account, Body({"content": text}, uploads), limit=self.account.upload_limit
        )

    def sees(self, channel: str = "general") -> list[Message]:
        """What this person's client shows in a channel, oldest first."""
        return self._core.world.history(self._channel(channel).id, self.account)

    # -- how a client builds it ---------------------------------------------------------------------------------------

    async def _settled(self, interaction: Interaction, settle_s: float) -> Outcome:
        await self._core.bell.until(lambda: interaction.answered, max(settle_s, ACK_DEADLINE_S + 1), f"an answer to {interaction.name}")
        return Outcome(interaction, self)

    def _channel(self, name: str) -> Channel:
        world = self._core.world
        if name == "@me":
            return world.dm_with(self.account)
        called = [c for c in world.channels.values() if c.name == name and not c.deleted and c.guild_id is not None]
        mine = [c for c in called if c.guild_id is not None and self.account.id in world.guilds[c.guild_id].members]
        if called:
            return (mine or called)[0]
        raise ScenarioError(f"there is no channel {name!r}")

    def _definition(self, name: str) -> tuple[Json, dict[str, Json], list[Json]]:
        """The registered command, its leaf options by name, and the subcommand path."""
        first, *rest = name.removeprefix("/").split()
        registered = [*self._core.commands, *(c for commands in self._core.guild_commands.values() for c in commands)]
        command = next((c for c in registered if c["name"] == first and c["type"] == 1), None)
        if command is None:
            raise ScenarioError(f"there is no command /{first}; there are: {', '.join(sorted(c['name'] for c in registered))}")
        nesting: list[Json] = []
        level = command
        for part in rest:
            found = next((o for o in level.get("options") or [] if o["name"] == part and o["type"] in (1, 2)), None)
            if found is None:
                raise ScenarioError(f"/{first} has no subcommand {part!r}")
            nesting.append(found)
            level = found
        return command, {o["name"]: o for o in level.get("options") or []}, nesting

    def _may(self, where: Channel, command: Json) -> None:
        allowed = self._core.world.permissions(where, self.account)
        if Permission.USE_APPLICATION_COMMANDS not in allowed:
            raise ClientRefusedError(f"{self.name} may not use commands in #{where.name}")
        needed = command.get("default_member_permissions")
        if needed is not None and int(needed) & int(allowed) != int(needed):
            raise ClientRefusedError(f"/{command['name']} is hidden from {self.name}")
        if where.guild_id is None and command.get("contexts") is not None and 1 not in command["contexts"]:
            raise ClientRefusedError(f"/{command['name']} is not offered in direct messages")

    def _option_data(
        self, given: dict[str, Value], definitions: dict[str, Json], where: Channel
    ) -> tuple[list[Json], list[Attachment], dict[str, Json]]:
        """Options as they go on the wire, their files, and what Discord resolves of the people, channels and roles they name."""
        unknown = [name for name in given if name not in definitions]
        if unknown:
            raise ScenarioError(f"no option {', '.join(map(repr, unknown))}; there are: {', '.join(definitions)}")
        missing = [name for name, definition in definitions.items() if definition.get("required") and name not in given]
        if missing:
            raise ClientRefusedError(f"required option {', '.join(missing)} is empty")
        attachments: list[Attachment] = []
        data: list[Json] = []
        resolved: dict[str, Json] = {}
        for name, value in given.items():
            definition = definitions[name]
            if definition["type"] in MENTIONABLE:
                data.append({"type": definition["type"], "name": name, "value": self._named(definition, str(value), where, resolved)})
            elif definition["type"] == 11:
                if not isinstance(value, Path):
                    raise ScenarioError(f"option {name} takes a file, not {value!r}")
                attachments.append(self._upload(value))
                data.append({"type": 11, "name": name, "value": str(attachments[-1].id)})
            else:
                data.append({"type": definition["type"], "name": name, "value": _typed(definition, value)})
        return data, attachments, resolved

    def _named(self, definition: Json, name: str, where: Channel, resolved: dict[str, Json]) -> str:
        """The id of the person, channel or role called `name` in this server; what Discord tells the bot of it goes into `resolved`."""
        world = self._core.world
        guild = world.guilds[where.guild_id] if where.guild_id is not None else None
        if definition["type"] == 6:
            user = next((user for user in world.users.values() if user.name == name), None)
            if user is None:
                raise ScenarioError(f"there is nobody called {name!r}")
            resolved.setdefault("users", {})[str(user.id)] = user_json(user)
            if guild is not None and user.id in guild.members:
                member = member_json(guild.members[user.id], world, guild, permissions=int(world.permissions(where, user)))
                resolved.setdefault("members", {})[str(user.id)] = {key: value for key, value in member.items() if key != "user"}
            return str(user.id)
        if definition["type"] == 7:
            channel = self._channel(name)
            if definition.get("channel_types") and int(channel.type) not in definition["channel_types"]:
                raise ClientRefusedError(f"{definition['name']} does not offer #{name}")
            shown = channel_json(channel, world) | {"permissions": str(int(world.permissions(channel, self.account)))}
            resolved.setdefault("channels", {})[str(channel.id)] = shown
            return str(channel.id)
        role = next((role for role in guild.roles.values() if role.name == name), None) if guild is not None else None
        if role is None:
            raise ScenarioError(f"there is no role {name!r} here")
        resolved.setdefault("roles", {})[str(role.id)] = role_json(role)
        return str(role.id)

    def _command_data(self, command: Json, nesting: list[Json], options: list[Json]) -> Json:
        for part in reversed(nesting):
            options = [{"type": part["type"], "name": part["name"], "options": options}]
        data: Json = {"id": command["id"], "name": command["name"], "type": 1, "options": options}
        if "guild_id" in command:
            data["guild_id"] = command["guild_id"]
        return data

    def _upload(self, path: Path) -> Attachment:
        if not path.is_file():
            raise ScenarioError(f"there is no file {path}")
        data = path.read_bytes()
        limit = self.account.upload_limit
        if len(data) > limit:
            raise ClientRefusedError(f"{path.name} has {len(data)} bytes, {limit} are allowed")
        if not data:
            raise ClientRefusedError(f"{path.name} is empty")
        return store_file(self._core, path.name, data, channel_id=0, ephemeral=True)

    def _fill_field(self, field: Json, label: str, value: Value | Sequence[Path] | None, attachments: list[Attachment]) -> Json:
        """One field of a submitted modal in Discord's shape."""
        kind, filled = field["type"], {"type": field["type"], "id": field.get("id", 0), "custom_id": field["custom_id"]}
        if kind == 19:
            paths = [value] if isinstance(value, Path) else [] if value is None else list(value)  # type: ignore[arg-type]
            low = field.get("min_values")
            low = (1 if field.get("required", True) else 0) if low is None else low
            high = field.get("max_values") or 1
            if not low <= len(paths) <= high and (paths or field.get("required", True)):
                raise ClientRefusedError(f"{label} takes {low} to {high} files, not {len(paths)}")
            made = [self._upload(Path(str(path))) for path in paths]
            attachments += made
            return filled | {"values": [str(a.id) for a in made]}
        if kind == 4:
            text = "" if value is None else str(value)
            text = text or str(field.get("value") or "")
            if field.get("required", True) and not text:
                raise ClientRefusedError(f"{label} is empty")
            if not int(field.get("min_length") or 0) <= len(text) <= int(field.get("max_length") or 4000):
                raise ClientRefusedError(f"{label} has the wrong length")
            return filled | {"value": text}
        if kind == 3:
            chosen = [value] if isinstance(value, str) else [] if value is None else list(value)  # type: ignore[arg-type]
            offered = {o["value"] for o in field["options"]}
            if not set(map(str, chosen)) <= offered:
                raise ScenarioError(f"{label} offers {', '.join(sorted(offered))}")
            return filled | {"values": [str(c) for c in chosen]}
        return filled | {"value": value}


def find_button(message: Message, wanted: str) -> Json | None:
    """The button with this verb in its custom id, this custom id or this label."""
    for part in walk_components(message.components):
        if part["type"] != 2 or not part.get("custom_id"):
            continue
        verb = re.match(r"^[a-z]+:([a-z_]+)(:|$)", part["custom_id"])
        if wanted in (part["custom_id"], part.get("label")) or (verb is not None and verb[1] == wanted):
            return part
    return None


def _typed(definition: Json, value: Value) -> Value:
    """A value as the option's type, within the bounds Discord's client keeps.

    Raises:
        ClientRefusedError: it does not fit.
    """
    name, kind = definition["name"], definition["type"]
    choices = definition.get("choices") or []
    if choices:
        for choice in choices:
            if value in (choice["value"], choice["name"]):
                found: Value = choice["value"]
                return found
        raise ClientRefusedError(f"{name} offers {', '.join(str(c['value']) for c in choices)}, not {value!r}")
    try:
        typed: Value = {4: int, 10: float, 5: bool}.get(kind, str)(value)
    except ValueError:
        raise ClientRefusedError(f"{name} takes a number, not {value!r}") from None
    if isinstance(typed, str) and not int(definition.get("min_length") or 0) <= len(typed) <= int(definition.get("max_length") or 6000):
        raise ClientRefusedError(f"{name} has {len(typed)} characters, up to {definition.get('max_length') or 6000} are allowed")
    if kind in (4, 10) and not isinstance(typed, str | Path):
        low, high = definition.get("min_value"), definition.get("max_value")
        if (low is not None and typed < low) or (high is not None and typed > high):
            raise ClientRefusedError(f"{name} is between {low} and {high}, not {typed}")
    return typed
