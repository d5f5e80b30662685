"""Who reads what in which language: the server's, else the reader's own; what everybody reads follows the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.errors import Refusal, RefusalCode
from bot.sandbox.server import GuildSpec
from bot.services.servers import ServerSettings
from engine.contracts.status import JobStatus
from tests.support import discord_values as values
from tests.support.discord_rig import Rig, rig


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[Rig]:
    """A client in a server without a language of its own; `karla`'s Discord is German, everybody else's English."""
    async with rig(tmp_path / "data") as built:
        built.discord.user("karla").account.locale = "de"
        yield built


def german_server(studio: Rig) -> None:
    """`/settings language: Deutsch`."""
    guild_id = studio.discord.guild.id
    studio.facts.servers[guild_id] = ServerSettings(guild_id, language="de")


async def test_answer_is_in_the_readers_language_when_the_server_has_none(studio: Rig) -> None:
    """The same command, answered to each in their own language, a refusal too."""
    karla, maker = studio.discord.user("karla"), studio.discord.user("maker")
    assert "Deine Einheiten heute" in (await karla.command("quota")).text
    assert "Your units today" in (await maker.command("quota")).text
    refused = await karla.command("train", {"name": "zoko", "kind": "character"})
    assert refused.refused
    assert refused.text.startswith("Häng die Bilder an")


async def test_change_of_the_language_is_answered_in_it(studio: Rig) -> None:
    """Whoever sets German sees at once that it holds."""
    studio.discord.give_role("boss", "managers", ("manage_guild",))
    answer = await studio.discord.user("boss").command("settings language", {"language": "de"})
    assert "✅ Die Sprache ist geändert." in answer.text


async def test_answers_at_the_same_time_do_not_mix_languages(studio: Rig) -> None:
    """A context of its own for every interaction: twenty at once, each whole in one language."""
    people = [studio.discord.user(f"reader{number}") for number in range(20)]
    for person in people[::2]:
        person.account.locale = "de"
    answers = await asyncio.gather(*(person.command("jobs") for person in people))
    assert [("Deine Aufträge" in each.text, "Your jobs" in each.text) for each in answers] == [
        (True, False),
        (False, True),
    ] * 10


async def test_server_that_speaks_german_answers_everybody_in_german(studio: Rig) -> None:
    """Commands, buttons, forms, choices and leftovers, whatever the reader's own language is."""
    german_server(studio)
    maker = studio.discord.user("maker")
    studio.finished(owner="maker")
    queued = await maker.command("generate", {"prompt": "zoko walks"})
    assert "**In der Reihe:** Clip „zoko walks“" in queued.text
    assert [button["label"] for button in queued.reply.buttons] == ["Abbrechen"]
    assert "Abgebrochen: Clip „zoko walks“." in (await maker.press(queued.reply, "cancel")).text
    lengths = await maker.autocomplete("generate", "seconds", "", {"prompt": "p"})
    assert [choice["name"] for choice in lengths.choices] == ["1 s · 2 Einheiten", "2 s · 5 Einheiten"]
    assert "Deine Aufträge" in (await maker.command("jobs")).text


async def test_form_and_what_is_not_known_any_more_are_german_too(studio: Rig, tmp_path: Path) -> None:
    """A modal's title and fields; and the answer to a form nobody handles."""
    german_server(studio)
    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 64)
    maker = studio.discord.user("maker")
    opened = await maker.command("train", {"name": "zoko", "kind": "character", "image1": picture})
    assert "**1 Bild**" in opened.text
    form = await maker.press(opened.reply, "add")
    assert form.modal is not None
    assert form.modal["title"] == "Bilder zu zoko hinzufügen"
    assert form.modal["components"][0]["label"] == "Bilder, Clips oder ein Zip"
    form.modal["custom_id"] = "form:gone:x"
    unknown = await maker.submit_modal(form, {"files": [picture]})
    assert unknown.text.startswith("Dieses Formular ist nicht mehr bekannt")


async def test_english_server_answers_a_german_reader_in_english(studio: Rig) -> None:
    """A server that has chosen is not overruled by anybody's client."""
    studio.facts.servers[studio.discord.guild.id] = ServerSettings(studio.discord.guild.id, language="en")
    assert "Your units today" in (await studio.discord.user("karla").command("quota")).text


async def test_public_posts_speak_the_servers_language(studio: Rig) -> None:
    """The status card and the clip, which nobody asked for by themselves."""
    german_server(studio)
    studio.run_cards()
    studio.run_outbox()
    await studio.discord.user("maker").command("generate", {"prompt": "zoko walks"})
    await studio.discord.message("general", lambda message: "Ein Clip entsteht" in message.text)
    post = studio.posts.put(studio.finished())
    assert (await studio.posts.outcome(post))[0] == "sent"
    [clip] = [message for message in studio.discord.messages("general") if "Dein Clip ist fertig" in message.text]
    assert "KI-generiert mit" in clip.text
    assert "Melden" in [button["label"] for button in clip.buttons]


async def test_public_posts_follow_the_servers_discord_language_when_none_is_set(tmp_path: Path) -> None:
    """What the server's owner chose in Discord is known without asking anybody."""
    async with rig(tmp_path / "data", guild=GuildSpec(locale="de")) as built:
        built.run_outbox()
        view = built.finished(status=JobStatus.FAILED, result=None)
        post = built.posts.put(replace(view, record=replace(view.record, status=JobStatus.FAILED)))
        assert (await built.posts.outcome(post))[0] == "sent"
        assert any("Das hat nicht geklappt" in message.text for message in built.discord.messages("general"))
        built.jobs.refuse = Refusal(RefusalCode.QUEUE_UNAVAILABLE)
        answer = await built.discord.user("maker").command("generate", {"prompt": "zoko"})
        assert answer.text.startswith("The queue is out of reach"), "an answer is still in the reader's own language"


async def test_public_question_speaks_the_servers_language_and_its_receipt_the_readers(tmp_path: Path) -> None:
    """Whom it asks reads it, not who pressed the button."""
    async with rig(tmp_path / "data", guild=GuildSpec(locale="de")) as built:
        picture = tmp_path / "a.png"
        picture.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 64)
        maker, asked = built.discord.user("maker"), built.discord.user("karla")
        built.likenesses.open = values.likeness(person_id=asked.account.id)
        opened = await maker.command("train", {"name": "zoko", "kind": "character", **{f"image{n}": picture for n in range(1, 11)}})
        receipt = await maker.press(opened.reply, "start")
        assert "I asked" in receipt.text
        assert any("darf ein LoRA dich zeigen?" in message.text for message in built.discord.messages("general"))
