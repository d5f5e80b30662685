"""The catalogue of each language is complete, dead entries are none, and no text goes round it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any, cast
from unittest.mock import MagicMock

import discord
import pytest
from babel.messages.catalog import Message
from babel.messages.pofile import read_po
from discord import app_commands

from bot.commands.desk import Desk
from bot.commands.registry import build_commands
from bot.config import BotSettings
from bot.errors import Refusal, RefusalCode
from bot.ui import format as fmt
from bot.ui import modals, text
from bot.ui.language import ENGLISH, GERMAN, LANGUAGES, Words, _, chosen, counted, later, speak, speaking
from bot.ui.text import counts
from bot.ui.translator import Translator, german
from engine.contracts.failures import FailureCode
from tests.support import catalogue
from tests.support import discord_values as values
from tests.unit.bot.ui.test_ui_text import FACTS

FIELDS, CODE, BOLD = re.compile(r"\{\w+\}"), re.compile(r"`[^`]*`"), re.compile(r"\*\*([^*]*)\*\*")
NUMBER = re.compile(r" [0-9]+(\.[0-9]+)?$")


def described() -> Iterator[str]:
    """What Discord shows of every command before it is run."""
    services = MagicMock(settings=BotSettings())
    for command in build_commands(Desk(cast("Any", services), cast("Any", None))):
        leaves = [command, *command.walk_commands()] if isinstance(command, app_commands.Group) else [command]
        for leaf in leaves:
            if isinstance(leaf, app_commands.ContextMenu):
                yield leaf.name
                continue
            yield str(leaf.description)
            if isinstance(leaf, app_commands.Command):
                for option in leaf.parameters:
                    yield str(option.description)
                    yield from (str(choice.name) for choice in option.choices)


def messages(code: str) -> Mapping[str, Message]:
    """The entries of a catalogue by their (singular) source."""
    with resources.files("bot.ui.text").joinpath(f"{code}.po").open("rb") as file:
        found = [message for message in read_po(file, locale=code, abort_invalid=True) if message.id]
    assert not any(message.fuzzy for message in found)
    return {message.id if isinstance(message.id, str) else message.id[0]: message for message in found}


def forms(said: Any) -> tuple[str, ...]:
    """One sentence, or one for each number."""
    return (said,) if isinstance(said, str) else tuple(said)


def test_catalogue_has_every_sentence_and_no_other() -> None:
    """Nothing missing, nothing dead, and a sentence with a number has both of its forms."""
    known, wanted = messages(GERMAN), catalogue.sources()
    assert sorted({f"{source.where} {source.one!r}" for source in wanted if source.one not in known}) == []
    assert [source.where for source in wanted if forms(known[source.one].id) != source.forms] == []
    assert [one for one, message in known.items() if not all(form and form.strip() for form in forms(message.string))] == []
    shown = {each for each in described() if re.search(r"[A-Za-z]", each)}
    assert sorted(each for each in shown if german(each) is None) == []
    assert sorted(set(known) - {source.one for source in wanted} - shown - {NUMBER.sub("", each) for each in shown}) == []


def test_translations_keep_fields_commands_and_the_names_of_buttons() -> None:
    """A lost `{field}` would be a lost fact, a changed command one that does not work, and a button is called as it is labelled."""
    known = messages(GERMAN)
    labels = {source.one for source in catalogue.sources() if source.where.startswith(("views.py", "text/forms.py"))}
    for message in known.values():
        for source, said in zip(forms(message.id), forms(message.string), strict=True):
            assert set(FIELDS.findall(source)) == set(FIELDS.findall(said)), said
            assert sorted(CODE.findall(source)) == sorted(CODE.findall(said)), said
            assert (source[0] == " ", source[-1] == " ") == (said[0] == " ", said[-1] == " "), said
            for label in BOLD.findall(source):
                if label in labels:
                    assert known[label].string in said, said


def test_no_text_of_a_card_goes_round_the_lookup() -> None:
    """Every literal with words is looked up while a card is made; one evaluated at import would stay English."""
    assert catalogue.bypasses() == []


def test_the_check_finds_a_literal_that_goes_round_the_lookup(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """It can fail: sentences, labels and single words of a text module are seen, docstrings and ids are not."""
    (tmp_path / "text").mkdir()
    lines = ['"""A docstring of words."""', "def f(n):", '    """Another one."""', '    return "done" if n else f"{n} of them are left"']
    (tmp_path / "text" / "a.py").write_text("\n".join(lines))
    (tmp_path / "b.py").write_text('LABEL = "Cancel"\nNAME = "units.png"\n')
    monkeypatch.setattr(catalogue, "UI", tmp_path)
    assert [line.partition(" ")[2] for line in catalogue.bypasses()] == ["'Cancel'", "'done'", "' of them are left'"]
    (tmp_path / "b.py").write_text("word = 'x'\n_(word)\n")
    with pytest.raises(TypeError, match="takes a literal"):
        catalogue.sources()


def test_german_of_commands_keeps_discords_limits() -> None:
    """100 characters for a description or a choice, 32 for an entry of the Apps menu."""
    assert [each for each in described() if len(german(each) or "") > 100] == []
    with speaking(GERMAN):
        assert len(text.UNKNOWN_BUTTON()) <= 300
        assert len(_("Make a clip of this")) <= 32


async def test_commands_carry_german_on_the_wire_and_keep_their_names() -> None:
    """`description_localizations` has German; of names only those of the Apps menu, which nobody types, are translated."""
    tree = app_commands.CommandTree(discord.Client(intents=discord.Intents.none()))
    services = MagicMock(settings=BotSettings())
    commands = build_commands(Desk(cast("Any", services), cast("Any", None)))
    jobs = await next(each for each in commands if each.name == "jobs").get_translated_payload(tree, Translator())
    assert jobs["description_localizations"] == {"de": "Deine Clips und Trainings: Platz in der Reihe, Stand, Abbruch"}
    assert not jobs.get("name_localizations")
    menu = next(each for each in commands if isinstance(each, app_commands.ContextMenu))
    assert (await menu.get_translated_payload(tree, Translator()))["name_localizations"] == {"de": "Clip daraus machen"}


@pytest.mark.parametrize("code", list(RefusalCode))
def test_refusal_is_one_german_sentence_for_every_code(code: RefusalCode) -> None:
    """Short enough for a phone, with every fact, also when facts are missing."""
    with speaking(GERMAN):
        sentence = text.refusal(Refusal(code, **FACTS.get(code, {})))
        assert text.refusal(Refusal(code)).strip()
    assert sentence != text.refusal(Refusal(code, **FACTS.get(code, {})))
    assert sentence.endswith((".", "?"))
    assert len(sentence) <= 320
    assert "{" not in sentence
    assert "?" not in sentence.replace("meintest du", "")[:-1], "a fact is missing"


@pytest.mark.parametrize("code", list(FailureCode))
def test_failure_is_german_for_every_code(code: FailureCode) -> None:
    """Whatever ends a job, a German reader learns what to do."""
    with speaking(GERMAN):
        said = text.failure(code)
    assert said != text.failure(code)
    assert said.endswith(".")


@pytest.mark.parametrize("language", LANGUAGES)
async def test_forms_keep_discords_limits_in_every_language(language: str) -> None:
    """45 characters for a title or a label, 100 for a description or an option."""
    with speaking(language):
        opened = [
            modals.AddFilesForm(values.DATASET_ID, "name-of-sixteen1"),
            modals.CaptionsForm(values.DATASET_ID, 0, "name-of-sixteen1", values.report().items),
            modals.EditLoraForm(values.lora(guild_id=5)),
            modals.ReportForm(values.JOB_ID),
            modals.RemixForm(values.JOB_ID, moves=True),
        ]
        payloads = [form.to_dict() for form in opened]
    for payload in payloads:
        assert len(payload["title"]) <= 45
        for label in payload["components"]:
            assert len(label["label"]) <= 45
            assert len(label.get("description") or "") <= 100
            assert all(len(option["label"]) <= 100 for option in label["component"].get("options", ()))
            assert all(len(option.get("description") or "") <= 100 for option in label["component"].get("options", ()))
            assert len(label["component"].get("placeholder") or "") <= 100


def test_language_is_the_first_wish_there_is() -> None:
    """The server's before the reader's; a dialect is its language; whatever there is no catalogue for is English."""
    assert chosen("de", "en-US") == GERMAN
    assert chosen(None, "de") == GERMAN
    assert chosen(None, "en-GB") == ENGLISH
    assert chosen("fr", None, "") == ENGLISH


def test_numbers_follow_the_language() -> None:
    """Separators and forms; a LoRA's weight is typed the same everywhere."""
    assert (counts.units(1), counts.units(1200), fmt.number(2.5)) == ("1 unit", "1,200 units", "2.5")
    assert fmt.megabytes(int(1.5 * 2**20)) == "1.5 MB"
    with speaking(GERMAN):
        assert (counts.units(1), counts.units(1200), fmt.number(2.5)) == ("1 Einheit", "1.200 Einheiten", "2,5")
        assert fmt.megabytes(int(1.5 * 2**20)) == "1,5 MB"
        assert fmt.weight(0.9) == "0.9"


async def test_two_answers_at_the_same_time_do_not_mix_languages() -> None:
    """Each task speaks its own; a thread started from one follows it; constants are looked up when they are read."""
    ready = asyncio.Barrier(2)
    cancel, table = later("Cancel"), Words({1: "Delete"})

    async def answer(code: str) -> list[str]:
        speak(code)
        await ready.wait()
        return [cancel(), await asyncio.to_thread(lambda: table[1]), counted("{number} job", "{number} jobs", 2)]

    assert await asyncio.gather(answer(GERMAN), answer(ENGLISH)) == [
        ["Abbrechen", "Löschen", "2 Aufträge"],
        ["Cancel", "Delete", "2 jobs"],
    ]
    assert cancel() == "Cancel"
