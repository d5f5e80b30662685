"""The outbox against a Discord that loses answers, refuses files and deletes channels: every result appears, and appears once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bot.sandbox.server import GuildSpec, LoopbackDiscord
from bot.services.posts import PostKind
from engine.contracts.failures import FailureCode
from engine.contracts.status import JobStatus
from tests.support import discord_values as values
from tests.support.discord_rig import Rig, rig

POST = "POST /channels/*/messages"


@pytest.fixture
async def studio(tmp_path: Path):
    """A ready client with the outbox running."""
    async with rig(tmp_path / "data") as built:
        built.run_outbox()
        yield built


def videos(studio: Rig, channel: str = "general") -> list[object]:
    """Clips standing in a channel."""
    return [message for message in studio.discord.messages(channel) if message.has_video]


async def test_result_is_posted_once_and_pings_its_owner_only(studio: Rig) -> None:
    """A prompt full of mentions reaches nobody."""
    guest = studio.discord.user("guest").account.id
    job = values.generation(prompt=f"<@{guest}> @everyone zoko")
    word, (channel_id, message_id) = await studio.posts.outcome(studio.posts.put(studio.finished(job=job)))
    message = studio.discord.world.messages[message_id]
    assert (word, channel_id) == ("sent", studio.discord.channel("general").id)
    assert message.pinged == [studio.discord.user("maker").account.id]
    assert message.attachments[0].filename == f"callsheet-{values.JOB_ID.lower()}.mp4"
    assert studio.files.left_behind == []


async def test_failure_is_posted_with_its_sentence(studio: Rig) -> None:
    """No file, no operator detail."""
    row = studio.finished(status=JobStatus.FAILED, result=None, failure=FailureCode.CHILD_DIED, failure_detail="secret")
    _, (_, message_id) = await studio.posts.outcome(studio.posts.put(row, PostKind.FAILED))
    message = studio.discord.world.messages[message_id]
    assert "broke off several times" in message.text
    assert "secret" not in message.text


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("status", [500, 503, 0])
async def test_post_appears_once_when_the_answer_is_lost(studio: Rig, status: int, when: str) -> None:
    """Whether or not Discord had committed, there is one message in the end."""
    studio.discord.fault(POST, status=status, when=when, times=1)
    word, _ = await studio.posts.outcome(studio.posts.put(studio.finished()))
    assert word == "sent"
    assert len(videos(studio)) == 1
    assert studio.discord.messages("general")[-1].attachments[0].size == 100, "a file object was used twice"


async def test_post_is_found_again_when_the_process_died_before_the_commit(studio: Rig) -> None:
    """Sent, never noted, retried after the nonce is forgotten: the channel's history tells."""
    studio.posts.forget_sent = True
    first = studio.posts.put(studio.finished())
    await studio.posts.forgotten.wait()
    studio.discord.clock.advance(minutes=10)
    studio.posts.wake()
    word, (_, message_id) = await studio.posts.outcome(first)
    assert word == "sent"
    assert [message.id for message in videos(studio)] == [message_id]


async def test_restart_posts_nothing_twice(tmp_path: Path) -> None:
    """A new process finds the message of the old one."""
    async with LoopbackDiscord() as discord:
        async with rig(tmp_path / "data", discord=discord) as before:
            before.run_outbox()
            view = before.finished()
            await before.posts.outcome(before.posts.put(view))
        discord.clock.advance(minutes=30)
        async with rig(tmp_path / "data", discord=discord) as after:
            after.jobs.put(view.record)
            post = after.posts.put(view, tries=1, first_try_at=time.time() - 5)
            after.run_outbox()
            assert (await after.posts.outcome(post))[0] == "sent"
            assert len(videos(after)) == 1


async def test_too_large_a_file_is_reencoded(tmp_path: Path) -> None:
    """413 once: a smaller copy is posted."""
    async with rig(tmp_path / "data", guild=GuildSpec(file_limit=80)) as studio:
        studio.run_outbox()
        word, (_, message_id) = await studio.posts.outcome(studio.posts.put(studio.finished()))
        message = studio.discord.world.messages[message_id]
        assert word == "sent"
        assert message.has_video
        assert message.attachments[0].size <= 80
        assert studio.files.left_behind == []


@pytest.mark.parametrize("fits", [True, False])
async def test_file_that_never_fits_is_linked(tmp_path: Path, fits: bool) -> None:
    """Never dropped: a button opens it, and the owner is told why."""
    async with rig(tmp_path / "data", guild=GuildSpec(file_limit=10)) as studio:
        studio.files.fits = fits
        studio.run_outbox()
        word, (_, message_id) = await studio.posts.outcome(studio.posts.put(studio.finished()))
        message = studio.discord.world.messages[message_id]
        assert word == "sent"
        assert [button["url"] for button in message.buttons if "url" in button] == [f"https://files.example/{values.JOB_ID}.mp4"]
        assert "too large for this channel" in message.text
        assert studio.files.left_behind == []


async def test_deleted_channel_leads_to_a_direct_message(studio: Rig) -> None:
    """The result follows its owner and says why."""
    view = studio.finished()
    studio.discord.delete_channel("general")
    word, (channel_id, _) = await studio.posts.outcome(studio.posts.put(view))
    assert (word, channel_id) == ("sent", studio.discord.channel("@maker").id)
    assert "takes no posts of mine any more" in studio.discord.messages("@maker")[-1].text


async def test_lost_permission_leads_to_a_direct_message(studio: Rig) -> None:
    """Permissions can go while a job runs."""
    view = studio.finished()
    studio.discord.deny("general", "attach_files")
    word, (channel_id, _) = await studio.posts.outcome(studio.posts.put(view))
    assert (word, channel_id) == ("sent", studio.discord.channel("@maker").id)


async def test_result_stays_in_jobs_when_nothing_takes_it(studio: Rig) -> None:
    """No channel, no direct messages: given up without hammering Discord."""
    view = studio.finished()
    studio.discord.user("maker").account.accepts_dms = False
    studio.discord.delete_channel("general")
    word, _ = await studio.posts.outcome(studio.posts.put(view))
    assert word == "undeliverable"
    tries = [call for call in studio.discord.calls if call.method == "POST" and call.path.endswith("/messages")]
    assert len(tries) <= 2


async def test_post_waits_when_the_store_sleeps(studio: Rig) -> None:
    """A store outage delays, it does not drop."""
    studio.files.down = 3
    assert (await studio.posts.outcome(studio.posts.put(studio.finished())))[0] == "sent"
    assert len(videos(studio)) == 1


async def test_damaged_clip_is_told_instead_of_tried_for_ever(studio: Rig) -> None:
    """Its owner reads that it is lost and costs nothing; the posts behind it are not held up."""
    view = studio.finished()
    studio.files.damaged = {view.record.result.file.key}
    word, (_, message_id) = await studio.posts.outcome(studio.posts.put(view))
    message = studio.discord.world.messages[message_id]
    assert word == "sent"
    assert not message.has_video
    assert "Its file is damaged" in message.text
    assert "0 units" in message.text
    assert studio.screening.given_up == [view.record.job_id]


async def test_trained_lora_is_posted_without_a_damaged_preview(studio: Rig) -> None:
    """The preview is an ornament: the LoRA is there."""
    outcome = values.lora_result(preview=values.stored("jobs/x/1/p.mp4", "video/mp4"))
    studio.files.damaged = {"jobs/x/1/p.mp4"}
    _, (_, message_id) = await studio.posts.outcome(studio.posts.put(studio.finished(job=values.training(), result=outcome)))
    message = studio.discord.world.messages[message_id]
    assert "the LoRA itself is fine" in message.text
    assert message.attachments == []


async def test_post_that_cannot_be_made_is_given_up_after_a_few_tries(studio: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours in one card is not repeated until the end of time; the result stays in `/jobs`."""

    def broken(*_: object) -> None:
        raise ValueError("a card of 41 parts")

    monkeypatch.setattr("bot.ui.result_cards.result", broken)
    word, error = await studio.posts.outcome(studio.posts.put(studio.finished()))
    assert (word, "41 parts" in error) == ("undeliverable", True)


async def test_deleted_result_is_not_posted(studio: Rig) -> None:
    """The owner deleted it from `/jobs` while it waited."""
    assert (await studio.posts.outcome(studio.posts.put(studio.finished(deleted=True))))[0] == "undeliverable"
    assert studio.discord.messages("general") == []


async def test_slow_post_does_not_hold_up_the_others(studio: Rig) -> None:
    """Four at a time: one that keeps failing lets the rest through."""
    studio.discord.add_guild(GuildSpec("Elsewhere", channels=("lobby",)))
    stuck = studio.finished(channel="lobby", job=values.generation(job_id=values.LORA_ID))
    route = f"POST /channels/{studio.discord.channel('lobby').id}/messages"
    studio.discord.fault(route, status=503, times=6)
    slow = studio.posts.put(stuck)
    quick = studio.posts.put(studio.finished())
    assert (await studio.posts.outcome(quick))[0] == "sent"
    assert slow.post_id not in studio.posts.outcomes
    assert (await studio.posts.outcome(slow))[0] == "sent"


async def test_locked_thread_leads_to_its_parent_channel(studio: Rig) -> None:
    """Archived threads are in no cache: the parent is asked for, and the post says why it stands there."""
    world = studio.discord.world
    thread = world.add_thread(studio.discord.channel("general"), "scene", world.ids.next())
    view = studio.finished(channel="scene")
    thread.archived = thread.locked = True
    word, (channel_id, _) = await studio.posts.outcome(studio.posts.put(view))
    assert (word, channel_id) == ("sent", studio.discord.channel("general").id)
    assert "thread is closed" in studio.discord.messages("general")[-1].text


async def test_post_in_a_fallback_place_is_found_again_after_a_crash(studio: Rig) -> None:
    """Sent as a direct message, never noted: not sent again."""
    view = studio.finished()
    studio.discord.delete_channel("general")
    studio.posts.forget_sent = True
    post = studio.posts.put(view)
    await studio.posts.forgotten.wait()
    studio.discord.clock.advance(minutes=10)
    studio.posts.wake()
    assert (await studio.posts.outcome(post))[0] == "sent"
    assert len(studio.discord.messages("@maker")) == 1
