"""Buttons on posted results: owners, restarts, duplicates, leftovers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import discord as discord_py
import pytest
from discord import ui

from bot.sandbox.server import LoopbackDiscord
from bot.sandbox.world import Message
from engine.contracts.status import JobStatus
from tests.support import discord_values as values
from tests.support.discord_rig import Rig, rig


@pytest.fixture
async def studio(tmp_path: Path):
    """A ready client with the outbox running."""
    async with rig(tmp_path / "data") as built:
        built.run_outbox()
        yield built


async def posted(studio: Rig) -> Message:
    """A clip of maker's in the channel."""
    post = studio.posts.put(studio.finished())
    word, (_, message_id) = await studio.posts.outcome(post)
    assert word == "sent"
    return studio.discord.world.messages[message_id]


async def test_again_queues_the_same_request_for_its_owner(studio: Rig) -> None:
    """A new job with a new seed; the receipt is private."""
    message = await posted(studio)
    outcome = await studio.discord.user("maker").press(message, "again")
    assert not outcome.refused
    assert "new seed" in outcome.text
    assert outcome.reply.only_for == studio.discord.user("maker").account.id


@pytest.mark.parametrize(
    ("verb", "says", "card"),
    [
        ("vary", "A relative of seed `7`: 30% of its noise turned towards `999`", "Rendering a clip"),
        ("extend", "goes on from the last frames", "Going on with a clip"),
        ("upscale", "twice the size", "Upscaling a clip"),
    ],
)
async def test_button_makes_a_job_from_the_clip(studio: Rig, verb: str, says: str, card: str) -> None:
    """A private receipt says what comes, the public card says it to everybody."""
    message = await posted(studio)
    outcome = await studio.discord.user("maker").press(message, verb)
    assert says in outcome.text
    studio.run_cards()
    await studio.discord.message("general", lambda shown: card in shown.text)


async def test_animate_makes_a_clip_from_the_still_of_a_training(studio: Rig) -> None:
    """The trained LoRA's post has the button, for its owner."""
    view = studio.finished(job=values.training(), result=values.lora_result())
    _, (_, message_id) = await studio.posts.outcome(studio.posts.put(view))
    message = studio.discord.world.messages[message_id]
    assert (await studio.discord.user("guest").press(message, "animate")).refused
    assert "begins with this picture" in (await studio.discord.user("maker").press(message, "animate")).text


@pytest.mark.parametrize("verb", ["again", "vary", "extend", "upscale", "delete"])
async def test_button_is_refused_to_anybody_but_the_owner(studio: Rig, verb: str) -> None:
    """The owner comes from the job, not from the message; nothing happens."""
    message = await posted(studio)
    outcome = await studio.discord.user("guest").press(message, verb)
    assert outcome.refused
    assert outcome.reply.only_for == studio.discord.user("guest").account.id
    assert len(studio.jobs.rows) == 1
    assert message.deleted_at is None


async def test_delete_takes_message_and_clip_away(studio: Rig) -> None:
    """The owner can unpublish a result."""
    message = await posted(studio)
    outcome = await studio.discord.user("maker").press(message, "delete")
    assert not outcome.refused
    assert message.deleted_at is not None
    assert studio.jobs.rows[values.JOB_ID].deleted


async def test_delete_is_open_to_who_manages_the_server(studio: Rig) -> None:
    """Moderation needs no owner."""
    message = await posted(studio)
    studio.discord.give_role("mod", "Moderators", ["manage_guild"])
    assert not (await studio.discord.user("mod").press(message, "delete")).refused
    assert message.deleted_at is not None


async def test_again_is_not_open_to_moderators(studio: Rig) -> None:
    """Managing a server is no right to spend somebody's units."""
    message = await posted(studio)
    studio.discord.give_role("mod", "Moderators", ["manage_guild"])
    assert (await studio.discord.user("mod").press(message, "again")).refused


async def test_delete_of_a_training_keeps_the_lora(studio: Rig) -> None:
    """Only the message goes."""
    view = studio.finished(job=values.training())
    _, (_, message_id) = await studio.posts.outcome(studio.posts.put(view))
    message = studio.discord.world.messages[message_id]
    assert not (await studio.discord.user("maker").press(message, "delete")).refused
    assert message.deleted_at is not None
    assert not studio.jobs.rows[values.JOB_ID].deleted


async def test_buttons_work_after_a_restart(tmp_path: Path) -> None:
    """Everything a press needs is in its id and in the database."""
    async with LoopbackDiscord() as discord:
        async with rig(tmp_path / "data", discord=discord) as before:
            before.run_outbox()
            message = await posted(before)
            rows = before.jobs.rows
        async with rig(tmp_path / "data", discord=discord) as after:
            after.jobs.rows = rows
            assert not (await discord.user("maker").press(message, "again")).refused
            assert (await discord.user("guest").press(message, "again")).refused


async def test_buttons_still_work_after_many_edits_and_posts(studio: Rig) -> None:
    """No edit and no ephemeral card may unregister a button class (traps 1 and 2)."""
    studio.run_cards()
    maker = studio.discord.user("maker")
    await maker.command("generate", {"prompt": "zoko"})
    card = await studio.discord.message("general", lambda message: "Rendering" in message.text)
    [job_id] = studio.jobs.rows
    for step in range(4):
        row = values.running(studio.jobs.rows[job_id].job, step=step * 4, total=16).record
        studio.jobs.put(replace(studio.jobs.rows[job_id], status=JobStatus.RUNNING, steps_done=row.steps_done, total_steps=16))
        await studio.discord.until(lambda expected=f"step {step * 4} of 16": expected in card.text, 60, f"edit {step}")
    message = await posted(studio)
    assert not (await maker.press(message, "again")).refused
    assert not (await maker.press(card, "cancel")).refused


async def test_two_presses_at_once_are_two_interactions_and_two_answers(studio: Rig) -> None:
    """Both are acknowledged; each is its own job."""
    message = await posted(studio)
    maker = studio.discord.user("maker")
    outcomes = await asyncio.gather(*(maker.press(message, "again") for _ in range(2)))
    assert not any(outcome.failed or outcome.refused for outcome in outcomes)
    assert len(studio.jobs.rows) == 3


async def test_cancel_answers_and_is_refused_once_over(studio: Rig) -> None:
    """The second press learns that there is nothing to stop."""
    maker = studio.discord.user("maker")
    receipt = (await maker.command("generate", {"prompt": "zoko"})).reply
    assert "Cancelled" in (await maker.press(receipt, "cancel")).text
    again = await maker.press(receipt, "cancel")
    assert again.refused
    assert "over already" in again.text


async def test_unknown_job_of_a_genuine_button_is_refused(studio: Rig) -> None:
    """The database was reset: the button says what to do."""
    message = await posted(studio)
    studio.jobs.rows.clear()
    outcome = await studio.discord.user("maker").press(message, "again")
    assert outcome.refused
    assert "not known any more" in outcome.text


async def test_button_of_an_older_version_is_answered(studio: Rig) -> None:
    """An id no template matches still gets an acknowledgement and a sentence."""
    view = ui.LayoutView(timeout=None)
    view.add_item(ui.ActionRow(ui.Button(label="Old", custom_id="job:upscale:1")))
    view.stop()
    place = studio.client.get_partial_messageable(studio.discord.channel("general").id, guild_id=studio.discord.guild.id)
    await place.send(view=view, allowed_mentions=discord_py.AllowedMentions.none())
    outcome = await studio.discord.user("maker").press(studio.discord.messages("general")[-1], "upscale")
    assert outcome.refused
    assert "older version" in outcome.text
