"""Who may do what, on the wire: every command, autocomplete, button and form, for everybody who could try it.

What is expected comes from the one table in `bot/services/policy.py`, read here without the function that applies it. An action that is not
in the table, or that never asks the gate, fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from bot.commands.registry import BUTTON_HANDLERS, FORM_HANDLERS, actions, build_commands
from bot.config import BotSettings
from bot.errors import Refusal, RefusalCode
from bot.sandbox.interactions import Interaction, Kind
from bot.sandbox.messages import Body
from bot.sandbox.payloads import attachment_json, message_json
from bot.sandbox.people import REFUSAL_COLOUR, Outcome, Person
from bot.sandbox.server import GuildSpec
from bot.sandbox.world import Message
from bot.services.gate import FORM_SUBJECTS, SUBJECTS, Gate
from bot.services.library import Filters
from bot.services.plans import Plan, Standing, terms_of
from bot.services.policy import POLICY, Rule, Who
from bot.services.servers import ServerSettings
from bot.storage.blocks import Block
from bot.ui import shelf_ids
from bot.ui.views import BUTTONS
from tests.support import discord_values as values
from tests.support import hostile
from tests.support.discord_rig import Rig, rig


class Somebody(StrEnum):
    """Who tries. All but `MEMBER`, `ADMIN` and `OTHER` own what the action is about."""

    OWNER = "owner"
    MEMBER = "member"
    ADMIN = "admin"
    OTHER = "other server"  # manages another server
    BLOCKED = "blocked"
    PLAN_ENDED = "plan ended"
    CLOSED_CHANNEL = "closed channel"
    NO_ROLE = "without the role"
    NOT_AGREED = "has not agreed to the terms"


def expected(action: str, rule: Rule, who: Somebody) -> RefusalCode | None:
    """What the table says; None: let through."""
    if who is Somebody.BLOCKED and not rule.blocked_may:
        return RefusalCode.BLOCKED
    if rule.works and who is Somebody.CLOSED_CHANNEL:
        return RefusalCode.CHANNEL_CLOSED
    if rule.works and who is Somebody.NO_ROLE:
        return RefusalCode.ROLE_NEEDED
    manages = who in (Somebody.ADMIN, Somebody.OTHER)
    if rule.who is Who.OPERATOR:
        return RefusalCode.NOT_OPERATOR
    if rule.who is Who.ADMIN and not manages:
        return RefusalCode.NOT_ADMIN
    if rule.who in (Who.OWNER, Who.OWNER_OR_ADMIN):
        if who is Somebody.OTHER:
            return SUBJECTS[target_of(action)].unknown  # not even that it exists
        if who is Somebody.MEMBER or (who is Somebody.ADMIN and rule.who is Who.OWNER):
            return RefusalCode.NOT_OWNER
    if rule.feature is not None and who is Somebody.PLAN_ENDED:
        return RefusalCode.PLAN_NEEDED
    if rule.agreed and who is Somebody.NOT_AGREED:
        return RefusalCode.TERMS_NEEDED
    return None


def target_of(action: str) -> str:
    """What kind of thing an action is about."""
    return FORM_SUBJECTS.get(action, action.partition(":")[0])


CANCEL = f"job:cancel:{values.JOB_ID}"
SUBJECT_IDS: Mapping[str, str] = {
    "job": values.JOB_ID,
    "set": values.DATASET_ID,
    "lora": values.LORA_ID,
    "version": f"{values.LORA_ID}.1",
    "shelf": shelf_ids.encode(1, Filters()),
    "me": "now",
    "terms": "now",
    "report": values.JOB_ID,
    "rule": values.JOB_ID,
    "likeness": values.DATASET_ID,
    "form": values.JOB_ID,  # a form whose subject the gate does not look up
}
"""By the first part of a button's id: the one that belongs to maker. A new kind of button needs an example here."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, RefusalCode | None]]:
    """What the gate was asked, and what it said."""
    heard: list[tuple[str, RefusalCode | None]] = []
    check = Gate.check

    async def listening(self: Gate, action: str, *args: Any, **kwargs: Any) -> None:
        try:
            await check(self, action, *args, **kwargs)
        except Refusal as refusal:
            heard.append((action, refusal.code))
            raise
        heard.append((action, None))

    monkeypatch.setattr(Gate, "check", listening)
    return heard


def test_every_action_has_a_rule_and_every_rule_an_action(tmp_path: Path) -> None:
    """The table is complete, and nothing in it is dead; without a rule the client does not even start."""
    desk: Any = type("Desk", (), {})()
    desk.services = type("Services", (), {"settings": BotSettings(data_dir=tmp_path), "servers": None})()
    assert actions(build_commands(desk)) == set(POLICY)


def test_every_kind_of_button_and_form_that_has_an_owner_is_found() -> None:
    """A rule about an owner needs a way to find the owner."""
    owned = {action for action, rule in POLICY.items() if rule.who in (Who.OWNER, Who.OWNER_OR_ADMIN)}
    assert {target_of(action) for action in owned} <= set(SUBJECTS)
    assert {target for target, _ in BUTTON_HANDLERS} <= set(SUBJECT_IDS)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("who", Somebody)
async def test_every_action_comes_out_as_the_table_says(who: Somebody, tmp_path: Path, asked: list[Any]) -> None:
    """A refusal is a card in the refusal colour (an autocomplete: one choice that says why) and changes nothing; the rest goes on."""
    (tmp_path / "a.png").write_bytes(hostile.picture(1))
    async with rig(tmp_path / "data", default_plan="premium") as studio:
        person, channel = _somebody(studio, who)
        wrong = []
        for action, rule in POLICY.items():
            _subjects(studio)
            before = (dict(studio.jobs.rows), studio.datasets.draft)
            asked.clear()
            outcome = await _do(studio, person, channel, action, tmp_path / "a.png")
            want = expected(action, rule, who)
            if asked != [(action, want)]:
                wrong.append(f"{action}: expected {want}, the gate heard {asked}")
            elif outcome.failed:
                wrong.append(f"{action}: no answer within 3 s")
            elif want is not None and not _said_no(outcome):
                wrong.append(f"{action}: {want}, but the answer is {outcome.text!r}")
            elif want is not None and (dict(studio.jobs.rows), studio.datasets.draft) != before:
                wrong.append(f"{action}: refused, and something changed")
        assert wrong == []


def _somebody(studio: Rig, who: Somebody) -> tuple[Person, str]:
    """The person and the channel they are in."""
    discord, facts = studio.discord, studio.facts
    maker = discord.user("maker")
    discord.user("guest")
    discord.give_role("guest", "vip")
    match who:
        case Somebody.MEMBER:
            return discord.user("guest"), "general"
        case Somebody.ADMIN:
            discord.give_role("boss", "managers", ["manage_guild"])
            return discord.user("boss"), "general"
        case Somebody.OTHER:
            other = discord.add_guild(GuildSpec("Elsewhere", channels=("elsewhere",)))
            stranger = discord.user("stranger", other)
            discord.give_role("stranger", "managers", ["manage_guild"], other)
            discord.give_role("stranger", "vip", (), other)
            return stranger, "elsewhere"
        case Somebody.BLOCKED:
            facts.blocks[maker.account.id] = Block(discord.guild.id, maker.account.id, "spam", 1, values.NOW)
        case Somebody.PLAN_ENDED:
            free = terms_of(Plan.FREE, studio.settings)
            facts.plans[maker.account.id] = Standing(free, False, None, Plan.PREMIUM, values.NOW)
        case Somebody.CLOSED_CHANNEL:
            facts.servers[discord.guild.id] = ServerSettings(discord.guild.id, channels=frozenset({1}))
        case Somebody.NOT_AGREED:
            facts.disagree.add(maker.account.id)
        case Somebody.NO_ROLE:
            facts.servers[discord.guild.id] = ServerSettings(discord.guild.id, roles=frozenset({1}))
    return maker, "general"


def _subjects(studio: Rig) -> None:
    """maker's running job, draft and LoRA, as if nothing had been done to them."""
    owner_id = studio.discord.user("maker").account.id
    guild_id = studio.discord.guild.id
    channel_id = studio.discord.channel("general").id
    studio.jobs.rows.clear()
    studio.jobs.put(values.record(owner_id=owner_id, guild_id=guild_id, channel_id=channel_id))
    studio.datasets.draft = values.dataset(owner_id=owner_id, guild_id=guild_id)
    studio.library.found = [values.lora(owner_id=owner_id, guild_id=guild_id)]


async def _do(studio: Rig, person: Person, channel: str, action: str, file: Path) -> Outcome:
    """Do it as a client would that hides nothing: no permission is checked before the bot is asked."""
    core, where = studio.discord._core, person._channel(channel)
    interactions = studio.discord._interactions
    menu = next((command for command in core.commands if f"/{command['name']}" == action and command["type"] == 3), None)
    if menu is not None:
        message = (
            studio.discord.user("maker").say("look", [file]) if channel == "general" else _with_button(studio, CANCEL, channel, person)
        )
        shown = {"messages": {str(message.id): message_json(message, core.world)}}
        data = {"id": menu["id"], "name": menu["name"], "type": 3, "target_id": str(message.id), "resolved": shown}
        started = interactions.start(Kind.COMMAND, person.account, where, menu["name"], data)
    elif action.startswith("/"):
        name, _, option = action[1:].partition(":")
        command, definitions, nesting = person._definition(name)
        if option:
            options = [{"type": definitions[option]["type"], "name": option, "value": "1", "focused": True}]
            started = interactions.start(Kind.AUTOCOMPLETE, person.account, where, name, person._command_data(command, nesting, options))
        else:
            given = {key: _example(definition, file) for key, definition in definitions.items() if definition.get("required")}
            data, attachments, resolved = person._option_data(given, definitions, where)
            if attachments:
                resolved["attachments"] = {str(a.id): attachment_json(a) for a in attachments}
            payload = person._command_data(command, nesting, data) | ({"resolved": resolved} if resolved else {})
            started = interactions.start(Kind.COMMAND, person.account, where, name, payload)
    elif action.startswith("form:"):
        data = {"custom_id": f"{action}:{SUBJECT_IDS[target_of(action)]}", "components": []}
        opener = _with_button(studio, f"set:add:{values.DATASET_ID}", channel, person)
        started = interactions.start(Kind.MODAL_SUBMIT, person.account, where, action, data, source=opener)
    else:
        message = _with_button(studio, f"{action}:{SUBJECT_IDS[target_of(action)]}", channel, person)
        data = {"custom_id": f"{action}:{SUBJECT_IDS[target_of(action)]}", "component_type": 2, "id": 3}
        started = interactions.start(Kind.COMPONENT, person.account, where, action, data, source=message)
    await core.bell.until(lambda: started.answered, 20, f"an answer to {action}")
    return Outcome(started, person)


def _example(definition: Mapping[str, Any], file: Path) -> Any:
    """A value for a required option."""
    choices = definition.get("choices") or []
    if choices:
        return choices[0]["value"]
    by_type = {4: 1, 5: True, 6: "guest", 7: "general", 8: "vip", 10: 1.0, 11: file}
    return by_type.get(definition["type"], "zoko")


def _with_button(studio: Rig, custom_id: str, channel: str, person: Person) -> Message:
    """A message of the bot that has this button."""
    assert any(button.__discord_ui_compiled_template__.fullmatch(custom_id) for button in BUTTONS), custom_id
    button = {"type": 2, "style": 2, "label": "x", "custom_id": custom_id, "id": 3}
    card = {"type": 17, "id": 1, "components": [{"type": 1, "id": 2, "components": [button]}]}
    body = Body({"flags": 1 << 15, "components": [card]}, [])
    return studio.discord._messages.create(person._channel(channel), studio.discord.world.bot, body, limit=10**6)


def _said_no(outcome: Outcome) -> bool:
    interaction: Interaction = outcome.interaction
    if interaction.kind is Kind.AUTOCOMPLETE and interaction.data["options"][-1].get("type") == 10:
        return outcome.choices == []  # a number cannot say why
    if interaction.kind is Kind.AUTOCOMPLETE:
        return [choice["name"].endswith(("…", ".")) for choice in outcome.choices] == [True]
    return any(message.accent == REFUSAL_COLOUR for message in outcome.replies)


async def test_operator_counts_as_an_admin_everywhere_when_the_settings_name_them(tmp_path: Path, asked: list[Any]) -> None:
    """Who runs the bot may do what is the operator's alone, and what is an admin's."""
    async with rig(tmp_path / "data") as studio:
        operator = studio.discord.user("maker")
        object.__setattr__(studio.settings, "operators", str(operator.account.id))
        _subjects(studio)
        studio.jobs.put(replace(studio.jobs.rows[values.JOB_ID], owner_id=1))
        for action in ("/admin grant", "/admin usage", "job:cancel"):
            await _do(studio, operator, "general", action, tmp_path / "none")
        assert asked == [("/admin grant", None), ("/admin usage", None), ("job:cancel", None)]


def test_forms_are_known_by_name() -> None:
    """Every form the client handles is one whose subject the gate can find, or that has none."""
    assert {f"form:{name}" for name in FORM_HANDLERS} <= set(POLICY)
