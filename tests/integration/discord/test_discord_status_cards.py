"""Status cards: posted once, latest state wins, edits keep their distance, the end is shown and then left alone."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.sandbox.server import LoopbackDiscord
from bot.sandbox.world import Message
from engine.contracts.status import JobStatus
from tests.support import discord_values as values
from tests.support.discord_rig import Rig, job_id, rig


@pytest.fixture
async def studio(tmp_path: Path):
    """A ready client with the cards running."""
    async with rig(tmp_path / "data") as built:
        built.run_cards()
        yield built


def queued(studio: Rig, number: int = 1, job: Any = None, **changes: Any) -> str:
    """A job of maker's in #general."""
    place = studio.discord.channel("general")
    given = {
        "owner_id": studio.discord.user("maker").account.id,
        "guild_id": place.guild_id,
        "channel_id": place.id,
        "created_at": studio.discord.clock.now(),
        "interaction_id": number,
    }
    fresh = job or values.generation(job_id=job_id(number))
    studio.jobs.put(values.record(fresh, **(given | changes)))
    return fresh.job_id


def change(studio: Rig, job: str, **changes: Any) -> None:
    """The job moves on."""
    studio.jobs.put(replace(studio.jobs.rows[job], **changes))


def posted(studio: Rig, message_id: int) -> dict[str, Any]:
    """The result stands in #general."""
    return {"posted_channel_id": studio.discord.channel("general").id, "posted_message_id": message_id}


async def card_of(studio: Rig, what: str = "Rendering") -> Message:
    """The card once it stands in the channel."""
    return await studio.discord.message("general", lambda message: what in message.text)


async def test_card_appears_follows_and_ends(studio: Rig) -> None:
    """One message from queue to result, which it links to in the end; it pings nobody."""
    job = queued(studio)
    card = await card_of(studio)
    change(studio, job, status=JobStatus.RUNNING, started_at=time.time(), steps_done=8, total_steps=16)
    await studio.discord.until(lambda: "step 8 of 16" in card.text, 60, "progress")
    change(studio, job, status=JobStatus.SUCCEEDED, finished_at=time.time(), result=values.clip_result(), **posted(studio, 77))
    await studio.discord.until(lambda: job in studio.cards.closed, 60, "the end")
    assert "Done" in card.text
    assert "/77)" in card.text
    assert card.buttons == []
    assert studio.discord.messages("general") == [card]
    assert card.pinged == []


async def test_finished_card_waits_for_the_link_to_its_result(studio: Rig) -> None:
    """Done first, the link as soon as the post exists."""
    job = queued(studio)
    card = await card_of(studio)
    change(studio, job, status=JobStatus.SUCCEEDED, finished_at=studio.discord.clock.now(), result=values.clip_result())
    await studio.discord.until(lambda: "Done" in card.text, 60, "done")
    assert job not in studio.cards.closed
    change(studio, job, **posted(studio, 78))
    await studio.discord.until(lambda: "/78)" in card.text, 60, "the link")
    await studio.discord.until(lambda: job in studio.cards.closed, 60, "the end")


async def test_card_goes_on_when_a_preview_cannot_be_had(studio: Rig) -> None:
    """The former picture stays, and the steps are counted all the same."""
    studio.files.content = {"jobs/x/1/p1.png": b"one"}
    studio.files.damaged = {"jobs/x/1/p2.png"}
    job = queued(studio, job=values.training())
    card = await card_of(studio, "Training")
    change(studio, job, status=JobStatus.RUNNING, steps_done=100, total_steps=400, preview=values.stored("jobs/x/1/p1.png", "image/png"))
    await studio.discord.until(lambda: [a.data for a in card.attachments] == [b"one"], 60, "the first preview")
    change(studio, job, steps_done=200, preview=values.stored("jobs/x/1/p2.png", "image/png"))
    await studio.discord.until(lambda: "step 200" in card.text, 60, "an edit without the second preview")
    assert [a.data for a in card.attachments] == [b"one"]


async def test_card_shows_the_preview_of_a_training(studio: Rig) -> None:
    """The picture is attached once per preview, not once per edit, and gone at the end."""
    studio.files.content = {"jobs/x/1/p1.png": b"one", "jobs/x/1/p2.png": b"two"}
    job = queued(studio, job=values.training())
    card = await card_of(studio, "Training")
    change(studio, job, status=JobStatus.RUNNING, steps_done=100, total_steps=400, preview=values.stored("jobs/x/1/p1.png", "image/png"))
    await studio.discord.until(lambda: [a.data for a in card.attachments] == [b"one"], 60, "the first preview")
    first = card.attachments[0]
    change(studio, job, steps_done=150)
    await studio.discord.until(lambda: "step 150" in card.text, 60, "an edit without a new preview")
    assert card.attachments == [first]
    change(studio, job, steps_done=200, preview=values.stored("jobs/x/1/p2.png", "image/png"))
    await studio.discord.until(lambda: [a.data for a in card.attachments] == [b"two"], 60, "the second preview")
    change(studio, job, status=JobStatus.FAILED)
    await studio.discord.until(lambda: job in studio.cards.closed, 60, "the end")
    assert card.attachments == []
    assert studio.files.left_behind == []


async def test_card_is_not_edited_when_nothing_changed(studio: Rig) -> None:
    """An edit costs a share of the channel's limit; a jittering estimate is no news."""
    queued(studio, 1)
    card = await card_of(studio)
    marker = queued(studio, 2, job=values.generation(job_id=job_id(2), prompt="another"))
    await card_of(studio, "another")
    change(studio, marker, status=JobStatus.CANCELLED)
    await studio.discord.until(lambda: marker in studio.cards.closed, 60, "some passes later")
    assert card.history == []


async def test_edits_keep_their_distance(tmp_path: Path) -> None:
    """However fast a job runs, its card changes at the agreed pace; the latest state wins."""
    async with rig(tmp_path / "data", card_edit_interval_s=0.5) as studio:
        studio.run_cards()
        job = queued(studio)
        card = await card_of(studio)
        change(studio, job, status=JobStatus.RUNNING, total_steps=1000)
        began = time.monotonic()
        for step in range(0, 1000, 20):
            change(studio, job, steps_done=step)
            await studio.discord.until(lambda: True, 1, "the loop to turn")
        await studio.discord.until(lambda: "step 980 of" in card.text, 60, "the latest state")
        assert len(card.history) <= 2 + (time.monotonic() - began) / 0.5


async def test_restart_goes_on_with_the_same_card(tmp_path: Path) -> None:
    """Message ids are stored: no second card."""
    async with LoopbackDiscord() as discord:
        async with rig(tmp_path / "data", discord=discord) as before:
            before.run_cards()
            job = queued(before)
            card = await card_of(before)
            await discord.until(lambda: job in before.cards.message_ids, 60, "the id")
            rows, ids = before.jobs.rows, before.cards.message_ids
        async with rig(tmp_path / "data", discord=discord) as after:
            after.jobs.rows, after.cards.message_ids = rows, ids
            after.run_cards()
            change(after, job, status=JobStatus.RUNNING, steps_done=4, total_steps=16)
            await discord.until(lambda: "step 4 of 16" in card.text, 60, "the edit")
            assert discord.messages("general") == [card]


@pytest.mark.parametrize("minutes", [0, 10])
async def test_card_is_not_posted_twice_when_the_process_died_before_its_id_was_stored(tmp_path: Path, minutes: int) -> None:
    """By nonce while Discord remembers it, by looking into the channel later."""
    async with LoopbackDiscord() as discord:
        async with rig(tmp_path / "data", discord=discord) as before:
            before.run_cards()
            job = queued(before)
            card = await card_of(before)
            rows = before.jobs.rows
        discord.clock.advance(minutes=minutes)
        async with rig(tmp_path / "data", discord=discord) as after:
            after.jobs.rows = rows
            after.run_cards()
            await discord.until(lambda: after.cards.message_ids.get(job) == card.id, 60, "the same card")
            assert discord.messages("general") == [card]


async def test_deleted_card_is_left_alone(studio: Rig) -> None:
    """Somebody removed it: no new one, no more tries."""
    job = queued(studio)
    card = await card_of(studio)
    await studio.discord.until(lambda: job in studio.cards.message_ids, 60, "the id")
    await studio.client.get_partial_messageable(card.channel_id).get_partial_message(card.id).delete()
    change(studio, job, status=JobStatus.RUNNING, steps_done=4, total_steps=16)
    await studio.discord.until(lambda: job in studio.cards.closed, 60, "the card to be given up")
    assert studio.discord.messages("general") == []


async def test_lost_channel_does_not_stop_the_others(studio: Rig) -> None:
    """One channel goes, the cards elsewhere live on."""
    discord = studio.discord
    lost = queued(studio)
    await card_of(studio)
    discord.world.add_channel(discord.guild, "lobby")
    kept = queued(studio, 2, channel_id=discord.channel("lobby").id)
    card = await discord.message("lobby")
    discord.delete_channel("general")
    change(studio, lost, status=JobStatus.RUNNING, steps_done=1, total_steps=16)
    change(studio, kept, status=JobStatus.RUNNING, steps_done=5, total_steps=16)
    await discord.until(lambda: lost in studio.cards.closed, 60, "the lost card")
    await discord.until(lambda: "step 5 of 16" in card.text, 60, "the other card")


async def test_job_that_ended_before_its_card_was_posted_gets_none(studio: Rig) -> None:
    """The result speaks for itself."""
    job = queued(studio, status=JobStatus.SUCCEEDED, result=values.clip_result())
    await studio.discord.until(lambda: job in studio.cards.closed, 60, "the close")
    assert studio.discord.messages("general") == []


async def test_edit_is_tried_again_when_discord_fails(studio: Rig) -> None:
    """An outage delays the card, no more."""
    job = queued(studio)
    card = await card_of(studio)
    studio.discord.fault("PATCH /channels/*/messages/*", status=503, times=3)
    change(studio, job, status=JobStatus.RUNNING, steps_done=4, total_steps=16)
    await studio.discord.until(lambda: "step 4 of 16" in card.text, 15, "the edit")
