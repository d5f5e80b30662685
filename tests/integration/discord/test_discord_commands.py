"""The real client on a loopback Discord: commands, forms and autocomplete as people meet them, over fakes of our own services."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.commands.uploads import Upload
from bot.errors import Refusal, RefusalCode
from bot.sandbox.errors import ScenarioError
from bot.sandbox.server import LoopbackDiscord
from bot.services.clip_requests import Change, GenerationRequest
from bot.services.jobs import SubmittedJob
from bot.services.shelf import Choice
from bot.ui.cards import REFUSAL_COLOUR
from bot.ui.text import forms
from engine.contracts.controls import ControlKind
from engine.contracts.generation import Fit, Quality
from engine.contracts.lora import LoraKind
from tests.support import discord_values as values
from tests.support.discord_rig import Rig, rig


@pytest.fixture
async def studio(tmp_path: Path):
    """A ready client with people around it."""
    async with rig(tmp_path / "data") as built:
        yield built


PICTURE = b"as good as a picture: nobody looks inside before the service does"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A picture to attach."""
    path = tmp_path / "a.png"
    path.write_bytes(PICTURE)
    return path


def scratch(studio: Rig) -> list[Path]:
    """What lies in the scratch folder."""
    return list(studio.settings.scratch_dir.iterdir())


async def test_train_hands_the_attached_bytes_to_the_data_set(studio: Rig, image: Path) -> None:
    """The answer is private, shows what is missing, and the service got exactly the bytes."""
    outcome = await studio.discord.user("maker").command(
        "train", {"name": "zoko", "kind": "character", "trigger": "zoko", "image1": image, "image3": image}
    )
    assert not outcome.refused
    assert outcome.reply.only_for == studio.discord.user("maker").account.id
    assert "2 pictures" in outcome.text
    assert studio.datasets.received == [("a.png", PICTURE)] * 2
    assert scratch(studio) == []


async def test_train_without_attachment_is_refused_with_the_way_to_attach(studio: Rig) -> None:
    """No attachment: one sentence, in the refusal's colour, for the asker alone."""
    outcome = await studio.discord.user("maker").command("train", {"name": "zoko", "kind": "character"})
    assert outcome.refused
    assert outcome.reply.accent == REFUSAL_COLOUR
    assert "Attach the pictures" in outcome.text


async def test_form_adds_ten_files_at_a_time_to_the_same_card(studio: Rig, image: Path) -> None:
    """The open data set grows in place until training is possible, and start makes the job."""
    maker = studio.discord.user("maker")
    opened = await maker.command("train", {"name": "zoko", "kind": "character", "image1": image})
    for expected in (11, 21):
        form = await maker.press(opened.reply, "add")
        submitted = await maker.submit_modal(form, {"files": [image] * 10})
        assert not submitted.refused
        assert f"{expected} pictures" in opened.reply.text
    started = await maker.press(opened.reply, "start")
    assert not started.refused
    assert "Queued" in opened.reply.text
    assert len(studio.jobs.rows) == 1


async def test_form_opened_before_a_restart_still_counts(tmp_path: Path, image: Path) -> None:
    """A deploy between opening and submitting loses no upload: the form is known by its id."""
    async with LoopbackDiscord() as discord:
        maker = discord.user("maker")
        async with rig(tmp_path / "data", discord=discord) as before:
            opened = await maker.command("train", {"name": "zoko", "kind": "character", "image1": image})
            form = await maker.press(opened.reply, "add")
            draft = before.datasets.draft
        async with rig(tmp_path / "data", discord=discord) as after:
            after.datasets.draft = draft
            submitted = await maker.submit_modal(form, {"files": [image] * 3})
            assert not submitted.refused
            assert len(after.datasets.received) == 3


async def test_foreign_data_set_is_refused_to_others(studio: Rig, image: Path) -> None:
    """Somebody else's form never opens; a forged one is refused."""
    maker = studio.discord.user("maker")
    opened = await maker.command("train", {"name": "zoko", "kind": "character", "image1": image})
    form = await maker.press(opened.reply, "add")
    guest = studio.discord.user("guest")
    form.interaction.modal["custom_id"] = f"form:files:{values.JOB_ID}"  # a set that does not exist
    outcome = await maker.submit_modal(form, {"files": [image]})
    assert outcome.refused
    assert "data set is gone" in outcome.text
    with pytest.raises(ScenarioError):
        await guest.press(opened.reply, "start")


async def test_generate_passes_every_option_and_shows_the_receipt(studio: Rig, image: Path) -> None:
    """Options arrive as typed; the receipt is private and names price and place in line."""
    outcome = await studio.discord.user("maker").command(
        "generate",
        {
            "prompt": "zoko walks",
            "loras": "zoko:0.9",
            "negative": "rain",
            "seconds": 1.5,
            "aspect": "1:1",
            "seed": 11,
            "quality": "fast",
            "image": image,
            "fit": "letterbox",
            "guide": image,
            "control": "edges",
            "mute": True,
        },
    )
    assert not outcome.refused
    assert "Queued" in outcome.text
    assert "Next in line" in outcome.text
    [request] = studio.clips.requests
    assert (request.prompt, request.loras, request.negative) == ("zoko walks", "zoko:0.9", "rain")
    assert (request.seconds, request.aspect, request.seed) == (1.5, "1:1", 11)
    assert (request.quality, request.fit, request.control, request.mute) == (Quality.FAST, Fit.LETTERBOX, ControlKind.EDGES, True)
    assert studio.clips.files == [{"image": PICTURE, "guide": PICTURE}]
    assert request.place.channel_id == studio.discord.channel("general").id
    assert request.place.max_bytes == 10 * 2**20


async def test_generate_passes_a_clip_and_what_becomes_of_it(studio: Rig, image: Path) -> None:
    """A file named by the person lies on disk under a name of ours, and its role is kept."""
    given = {"prompt": "as a watercolour", "clip": image, "change": "restyle", "strength": 0.4}
    assert not (await studio.discord.user("maker").command("generate", given)).refused
    [request] = studio.clips.requests
    assert (request.change, request.strength, request.quality) == (Change.RESTYLE, 0.4, None)
    assert studio.clips.files == [{"clip": PICTURE}]


@pytest.mark.parametrize("missing", ["attach_files", "send_messages", "view_channel"])
async def test_channel_without_permission_is_refused_before_queueing(studio: Rig, missing: str) -> None:
    """Nobody waits for a video that cannot be shown."""
    studio.discord.deny("general", missing)
    outcome = await studio.discord.user("maker").command("generate", {"prompt": "zoko"})
    assert outcome.refused
    assert missing.replace("_", " ").title() in outcome.text
    assert studio.clips.requests == []


async def test_refusal_of_a_service_is_one_private_sentence(studio: Rig) -> None:
    """Codes become words at the edge."""
    studio.jobs.refuse = Refusal(RefusalCode.QUEUE_UNAVAILABLE)
    outcome = await studio.discord.user("maker").command("generate", {"prompt": "zoko"})
    assert outcome.refused
    assert "nothing was started or charged" in outcome.text
    assert studio.discord.messages("general") == []


async def test_unexpected_error_is_answered_with_a_reference(studio: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """The person gets a reference that stands in the log beside the traceback."""
    studio.jobs.refuse = RuntimeError("the disk is on fire")
    outcome = await studio.discord.user("maker").command("generate", {"prompt": "zoko"})
    assert outcome.refused
    assert "on fire" not in outcome.text
    reference = outcome.text.split("`")[1]
    assert any(reference in record.getMessage() and record.exc_info for record in caplog.records)


async def test_expired_token_is_survived_when_the_answer_comes_too_late(studio: Rig) -> None:
    """After 15 minutes the answer has nowhere to go: it is logged, and the next command works."""

    async def slow(request: object) -> object:
        studio.discord.clock.advance(minutes=16)
        raise Refusal(RefusalCode.QUEUE_UNAVAILABLE)

    keep, studio.clips.submit = studio.clips.submit, slow  # type: ignore[method-assign, assignment]
    with pytest.raises(TimeoutError):
        await studio.discord.user("maker").command("generate", {"prompt": "zoko"}, settle_s=1)
    studio.clips.submit = keep  # type: ignore[method-assign]
    assert not (await studio.discord.user("maker").command("generate", {"prompt": "zoko"})).refused


async def test_autocomplete_offers_what_the_service_has(studio: Rig) -> None:
    """Whole lists as values; one that is too long for Discord is left out."""
    studio.loras.choices = [Choice(value, LoraKind.STYLE) for value in ("zoko", "z" * 100, "y" * 101, "")]
    outcome = await studio.discord.user("maker").autocomplete("generate", "loras", "zo", {"prompt": "p"})
    assert [choice["value"] for choice in outcome.choices] == ["zoko", "z" * 100]


async def test_autocomplete_explains_itself_when_the_service_breaks(studio: Rig) -> None:
    """One explanatory choice that keeps what was typed, instead of a spinner."""
    studio.loras.broken = True
    outcome = await studio.discord.user("maker").autocomplete("generate", "loras", "zo", {"prompt": "p"})
    assert [choice["value"] for choice in outcome.choices] == ["zo"]


async def test_lists_answer_privately_with_pictures(studio: Rig) -> None:
    """`/loras browse` attaches a thumbnail of each poster and leaves no copy behind; `/jobs` and `/quota` answer too."""
    maker = studio.discord.user("maker")
    studio.library.found = [
        values.lora(poster=values.stored("jobs/x/1/poster.png", "image/png")),
        values.lora("ink", lora_id=values.JOB_ID),
    ]
    outcome = await maker.command("loras browse")
    assert [file.filename for file in outcome.reply.attachments] == [f"lora-{values.LORA_ID.lower()}.png"]
    assert "zoko" in outcome.text
    assert "ink" in outcome.text
    studio.finished()
    assert "Done" in (await maker.command("jobs")).text
    assert "**180** of 300 left" in (await maker.command("quota")).text
    assert studio.files.left_behind == []
    assert all(interaction.original.only_for == maker.account.id for interaction in studio.discord.interactions)


async def test_loras_lists_without_the_picture_when_the_store_sleeps(studio: Rig) -> None:
    """A missing poster is no reason for no list."""
    studio.library.found = [values.lora(poster=values.stored("jobs/x/1/poster.png", "image/png"))]
    studio.files.down = 1
    outcome = await studio.discord.user("maker").command("loras browse")
    assert "zoko" in outcome.text
    assert outcome.reply.attachments == []


async def test_commands_are_synced_once_per_change(tmp_path: Path) -> None:
    """Discord allows 200 new commands a day: a restart sends nothing."""
    async with LoopbackDiscord() as discord:
        for _ in range(2):
            async with rig(tmp_path / "data", discord=discord):
                pass
        puts = [call for call in discord.calls if call.method == "PUT" and call.path.endswith("/commands")]
        assert len(puts) == 1
        async with rig(tmp_path / "data", discord=discord, max_video_seconds=4.0):  # changes a description
            pass
        puts = [call for call in discord.calls if call.method == "PUT" and call.path.endswith("/commands")]
        assert len(puts) == 2


async def test_client_asks_for_guilds_only(studio: Rig) -> None:
    """No messages, no members, nothing privileged."""
    assert studio.client.intents.value == 1
    assert studio.client.allowed_mentions is not None
    assert studio.client.allowed_mentions.to_dict() == {"parse": []}


async def test_attachment_that_discord_does_not_deliver_is_refused_by_name(studio: Rig, image: Path) -> None:
    """One file of several is gone: one sentence, nothing half done."""
    maker = studio.discord.user("maker")
    keep = studio.client.desk.downloader._fetch

    async def vanish(upload: Upload, target: Path) -> None:
        await keep(Upload(upload.filename, upload.url.replace("attachments/", "attachments/9"), upload.size), target)

    studio.client.desk.downloader._fetch = vanish  # type: ignore[method-assign]
    outcome = await maker.command("train", {"name": "zoko", "kind": "character", "image1": image, "image2": image})
    assert outcome.refused
    assert "did not hand over `a.png`" in outcome.text
    assert studio.datasets.received == []
    assert scratch(studio) == []


async def test_receipt_that_comes_too_late_costs_nothing_but_the_receipt(studio: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """The token died while the job was queued: the job stands and its public card appears."""
    keep = studio.clips.submit

    async def slow(request: GenerationRequest) -> SubmittedJob:
        studio.discord.clock.advance(minutes=16)
        return await keep(request)

    studio.clips.submit = slow  # type: ignore[method-assign]
    studio.run_cards()
    with pytest.raises(TimeoutError):
        await studio.discord.user("maker").command("generate", {"prompt": "zoko"}, settle_s=1)
    await studio.discord.message("general", lambda message: "Rendering" in message.text)
    assert len(studio.jobs.rows) == 1
    assert "unexpected error" not in caplog.text


async def test_jobs_offers_the_file_when_the_result_is_not_in_its_channel(studio: Rig) -> None:
    """A lost channel and closed direct messages cost nobody their clip."""
    studio.finished()
    assert f"https://files.example/{values.JOB_ID}.mp4" in (await studio.discord.user("maker").command("jobs")).text
    studio.finished(posted_channel_id=studio.discord.channel("general").id, posted_message_id=5)
    listed = (await studio.discord.user("maker").command("jobs")).text
    assert "files.example" not in listed
    assert "/5)" in listed


async def test_command_this_process_does_not_know_is_answered(studio: Rig) -> None:
    """A rolling deploy: Discord offers a command that this version lacks."""
    studio.client.tree.remove_command("jobs")
    outcome = await studio.discord.user("maker").command("jobs")
    assert outcome.refused
    assert "has just changed" in outcome.text


async def test_form_of_an_older_version_is_answered(studio: Rig, image: Path) -> None:
    """A submit nobody understands still gets a sentence."""
    maker = studio.discord.user("maker")
    opened = await maker.command("train", {"name": "zoko", "kind": "character", "image1": image})
    form = await maker.press(opened.reply, "add")
    assert form.modal is not None
    form.modal["custom_id"] = "form:v0"
    outcome = await maker.submit_modal(form, {"files": [image]})
    assert outcome.refused
    assert "no longer known" in outcome.text


async def test_fifty_people_at_once_are_all_acknowledged(studio: Rig) -> None:
    """No interaction is lost in a crowd."""
    people = [studio.discord.user(f"person{number}") for number in range(50)]
    outcomes = await asyncio.gather(*(person.command("generate", {"prompt": "zoko"}) for person in people))
    assert not any(outcome.failed or outcome.refused for outcome in outcomes)
    assert len(studio.jobs.rows) == 50


async def test_verify_shows_what_the_service_found(studio: Rig, image: Path) -> None:
    """The bytes reach the service, the answer is private, and the prompt in the file has no effect on anybody."""
    maker = studio.discord.user("maker")
    outcome = await maker.command("verify", {"file": image})
    assert studio.origins.seen == [PICTURE]
    assert outcome.reply.only_for == maker.account.id
    assert "Made here" in outcome.text
    assert "<@1>" not in outcome.text
    assert scratch(studio) == []


async def test_storyboard_takes_a_scene_per_option_and_per_line(studio: Rig) -> None:
    """Pasted lines are scenes of their own; the rest is passed on."""
    given = {"scene1": "zoko wakes\nzoko eats", "scene3": "zoko sleeps", "loras": "zoko", "seconds": 1.0, "quality": "fast", "seed": 3}
    outcome = await studio.discord.user("maker").command("storyboard", given)
    assert not outcome.refused
    [request] = studio.clips.storyboards
    assert request.scenes == ("zoko wakes", "zoko eats", "zoko sleeps")
    assert (request.loras, request.seconds, request.seed, request.quality) == ("zoko", 1.0, 3, Quality.FAST)


async def test_menu_makes_a_clip_of_a_posted_picture(studio: Rig, image: Path) -> None:
    """The form asks for words only; the bytes of somebody's picture become the first frame."""
    maker = studio.discord.user("maker")
    said = studio.discord.user("guest").say("look", [image])
    opened = await maker.use(said, forms.REMIX_MENU())
    outcome = await maker.submit_modal(opened, {"prompt": "zoko waves", "loras": "zoko"})
    assert not outcome.refused
    [request] = studio.clips.requests
    assert (request.prompt, request.loras, request.actor.user_id) == ("zoko waves", "zoko", maker.account.id)
    assert studio.clips.files == [{"image": PICTURE}]
    assert (await maker.submit_modal(opened, {"prompt": "again"})).refused


@pytest.mark.parametrize(("use", "role", "change"), [("extend", "clip", Change.EXTEND), ("guide", "guide", None)])
async def test_menu_uses_a_posted_clip_as_chosen(studio: Rig, use: str, role: str, change: Change | None) -> None:
    """An earlier result of the bot, in a message made of components, is changed or followed."""
    post = studio.posts.put(studio.finished())
    studio.run_outbox()
    _, (_, message_id) = await studio.posts.outcome(post)
    maker = studio.discord.user("maker")
    opened = await maker.use(studio.discord.world.messages[message_id], forms.REMIX_MENU())
    assert not (await maker.submit_modal(opened, {"prompt": "on and on", "use": use})).refused
    [request] = studio.clips.requests
    assert request.change is change
    assert list(studio.clips.files[0]) == [role]


async def test_menu_refuses_a_message_without_a_picture(studio: Rig) -> None:
    """Words are no start of a clip."""
    maker = studio.discord.user("maker")
    outcome = await maker.use(studio.discord.user("guest").say("hello"), forms.REMIX_MENU())
    assert outcome.refused
    assert "no picture or clip" in outcome.text


async def test_lengths_are_offered_with_their_prices(tmp_path: Path) -> None:
    """The price is seen before anything is sent, for the quality that was chosen; typing narrows the list."""
    async with rig(tmp_path / "data") as studio:
        maker = studio.discord.user("maker")
        assert [choice["name"] for choice in (await maker.autocomplete("generate", "seconds", "")).choices] == [
            "1 s · 2 units",
            "2 s · 5 units",
        ]
        fast = await maker.autocomplete("generate", "seconds", "2", {"quality": "fast"})
        assert [(choice["name"], choice["value"]) for choice in fast.choices] == [("2 s · 4 units", 2.0)]
