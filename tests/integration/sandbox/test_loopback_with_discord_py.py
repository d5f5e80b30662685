"""The unmodified discord.py client against the loopback Discord."""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from pathlib import Path

import aiohttp
import discord
import pytest

from bot.sandbox.errors import ClientRefusedError, ScenarioError
from bot.sandbox.server import GuildSpec, LoopbackDiscord, Settings
from tests.support.sandbox import card, picture, running_bot


async def test_command_is_answered_in_private_when_deferred_privately():
    """Login, sync, slash command, deferral and followup work; the answer is seen by its person only."""
    async with LoopbackDiscord() as server, running_bot(server):
        maker = server.user("maker")
        result = await maker.command("echo", {"text": "hi"})
        assert result.text == "hi for maker"
        assert result.reply.only_for == maker.account.id
        assert result.ack_ms is not None
        assert result.ack_ms < 3000
        assert server.messages("general") == []
        assert maker.sees("general") == [result.reply]
        assert server.user("guest").sees("general") == []
        assert [str(v) for v in server.violations] == []


async def test_attachments_are_read_from_the_cdn_when_given_as_options(tmp_path: Path):
    """Attachment options reach the bot with their bytes."""
    async with LoopbackDiscord() as server, running_bot(server):
        image, other = picture(tmp_path / "a.png"), picture(tmp_path / "b.png", size=(64, 64))
        result = await server.user("maker").command("files", {"image": image, "other": other})
        assert result.text == f"read [{image.stat().st_size}, {other.stat().st_size}]"
        assert server.cdn.downloads == ["a.png", "b.png"]


async def test_autocomplete_completes_the_last_entry_of_a_list():
    """Autocomplete is answered with choices."""
    async with LoopbackDiscord() as server, running_bot(server):
        result = await server.user("maker").autocomplete("hue", "hues", "red,gr")
        assert [c["value"] for c in result.choices] == ["red,green"]


async def test_refusal_is_recognised_by_the_accent_colour():
    """A card in the refusal colour counts as refused."""
    async with LoopbackDiscord() as server, running_bot(server):
        assert (await server.user("maker").command("hue", {"hues": "no"})).refused
        assert not (await server.user("maker").command("echo", {"text": "yes"})).refused


async def test_modal_takes_ten_files_when_opened_by_a_button(tmp_path: Path):
    """Button -> modal with FileUpload -> submit; too many files are stopped by the client."""
    async with LoopbackDiscord() as server, running_bot(server):
        maker = server.user("maker")
        await maker.command("card", {"picture": picture(tmp_path / "a.png")})
        posted = await server.message("general")
        opened = await maker.press(posted, "add")
        files = [picture(tmp_path / f"p{n}.png") for n in range(10)]
        result = await maker.submit_modal(opened, {"Pictures": files, "Note": "ten"})
        assert result.text.startswith("p0.png, p1.png")
        assert "note 'ten'" in result.text
        with pytest.raises(ClientRefusedError, match="1 to 10 files"):
            await maker.submit_modal(opened, {"Pictures": [*files, files[0]]})
        assert [str(v) for v in server.violations] == []


async def test_card_shows_its_file_and_pings_its_owner_when_posted(tmp_path: Path):
    """A Components V2 post with an upload resolves attachment:// and notifies whom it names."""
    async with LoopbackDiscord() as server, running_bot(server):
        maker = server.user("maker")
        await maker.command("card", {"picture": picture(tmp_path / "a.png", size=(48, 32))})
        posted = await server.message("general")
        media = posted.components[0]["components"][1]["items"][0]["media"]
        assert media["url"].startswith("https://cdn.discordapp.com/attachments/")
        assert (media["width"], media["height"]) == (48, 32)
        assert posted.pinged == [maker.account.id]
        turned = await maker.press(posted, "turn")
        assert turned.reply is posted
        assert "turned" in posted.text
        assert len(posted.history) == 1
        assert [str(v) for v in server.violations] == []


async def test_buttons_work_when_the_bot_was_restarted(tmp_path: Path):
    """A DynamicItem is rebuilt from its custom id by a new process of the bot."""
    async with LoopbackDiscord() as server:
        maker = server.user("maker")
        async with running_bot(server):
            await maker.command("card", {"picture": picture(tmp_path / "a.png")})
            posted = await server.message("general")
        assert (await maker.press(posted, "hello")).failed
        async with running_bot(server):
            result = await maker.press(posted, "hello")
            assert result.text == "pressed hello 1"


async def test_interaction_fails_when_not_acknowledged_within_three_seconds():
    """A late acknowledgement gets 10062 and is a violation; the person sees a failure."""
    async with LoopbackDiscord() as server, running_bot(server) as bot:
        result = await server.user("maker").command("slow")
        assert result.failed
        bot.release.set()
        async with asyncio.timeout(60):
            assert await bot.late == 10062
        assert [v.problem for v in server.violations] == ["not acknowledged within 3 s"]


async def test_nonce_returns_the_first_message_when_used_again():
    """Two posts with one nonce make one message, also when the first answer was lost after the commit."""
    async with LoopbackDiscord() as server, running_bot(server) as bot:
        where = bot.get_partial_messageable(server.channel("general").id, guild_id=server.guild.id)
        first = await where.send("once", nonce="n1")
        assert (await where.send("once", nonce="n1")).id == first.id
        server.fault("POST /channels/*/messages", status=500, when="after")
        await where.send("twice", nonce="n2")
        assert [m.content for m in server.messages("general")] == ["once", "twice"]


async def test_upload_is_refused_when_above_the_guild_limit():
    """413 with code 40005 above the guild's limit, nothing posted."""
    async with LoopbackDiscord(GuildSpec(file_limit=1000)) as server, running_bot(server) as bot:
        where = bot.get_partial_messageable(server.channel("general").id, guild_id=server.guild.id)
        with pytest.raises(discord.HTTPException) as caught:
            await where.send(file=discord.File(io.BytesIO(b"x" * 1001), filename="a.mp4"))
        assert (caught.value.status, caught.value.code) == (413, 40005)
        assert server.messages("general") == []


async def test_token_is_dead_after_fifteen_minutes():
    """Editing by token after 15 minutes answers 50027; the channel route still works for a public message."""
    async with LoopbackDiscord() as server, running_bot(server) as bot:
        result = await server.user("maker").command("echo", {"text": "old", "private": False})
        server.clock.advance(minutes=16)
        hook = discord.Webhook.partial(server.application_id, result.interaction.token, client=bot)
        with pytest.raises(discord.HTTPException) as caught:
            await hook.edit_message(result.reply.id, content="new")
        assert (caught.value.status, caught.value.code) == (401, 50027)
        where = bot.get_partial_messageable(server.channel("general").id, guild_id=server.guild.id)
        await where.get_partial_message(result.reply.id).edit(content="new")
        assert result.reply.content == "new"


async def test_missed_events_are_replayed_when_the_connection_was_cut():
    """A dropped websocket is resumed and the press made meanwhile arrives."""
    async with LoopbackDiscord() as server, running_bot(server) as bot:
        where = bot.get_partial_messageable(server.channel("general").id, guild_id=server.guild.id)
        await where.send(view=card("still here"))
        server.gateway.drop()
        await server.until(lambda: not server.gateway.live_sessions, 5, "the drop")
        result = await server.user("maker").press(server.messages("general")[0], "hello")
        assert result.text == "pressed hello 1"
        assert server.gateway.resumes == 1


async def test_bot_comes_back_when_asked_to_reconnect():
    """Op 7 leads to a RESUME."""
    async with LoopbackDiscord() as server, running_bot(server) as bot:
        server.gateway.ask_reconnect()
        async with asyncio.timeout(60):
            await bot.ready_again.wait()
        assert server.gateway.resumes == 1


async def test_posting_is_refused_when_the_channel_is_closed_to_the_bot():
    """50013 without send_messages, 10003 in a deleted channel, 50007 for a person who takes no messages."""
    async with LoopbackDiscord(GuildSpec(channels=("general", "quiet", "gone"))) as server, running_bot(server) as bot:
        codes = []
        server.deny("quiet", "send_messages")
        quiet, gone = server.channel("quiet").id, server.channel("gone").id
        server.delete_channel("gone")
        maker = server.user("maker")
        maker.account.accepts_dms = False
        dm = await bot.create_dm(discord.Object(maker.account.id))
        for channel_id in (quiet, gone, dm.id):
            with pytest.raises(discord.HTTPException) as caught:
                await bot.get_partial_messageable(channel_id).send("x")
            codes.append(caught.value.code)
        assert codes == [50013, 10003, 50007]


async def test_purchase_reaches_the_bot_as_event_and_with_the_next_interaction():
    """A granted entitlement is announced and listed."""
    async with LoopbackDiscord() as server, running_bot(server) as bot:
        granted = server.grant("maker", "premium")
        async with asyncio.timeout(60):
            assert await bot.entitled.get() == granted.sku_id
        listed = [e async for e in bot.entitlements(user=discord.Object(granted.user_id))]
        assert [e.sku_id for e in listed] == [granted.sku_id]


async def test_invalid_messages_are_refused_and_recorded():
    """A components V2 message with content breaks a documented rule: 400, and a violation on record."""
    async with LoopbackDiscord() as server, running_bot(server) as bot:
        route = discord.http.Route("POST", "/channels/{channel_id}/messages", channel_id=server.channel("general").id)
        body = {"content": "x", "flags": 1 << 15, "components": [{"type": 10, "content": "y"}]}
        with pytest.raises(discord.HTTPException) as caught:
            await bot.http.request(route, json=body)
        assert caught.value.code == 50035
        assert "IS_COMPONENTS_V2" in server.violations[0].problem


async def test_bot_identifies_anew_when_its_session_is_invalid():
    """Op 9 without resume leads to a new IDENTIFY, and interactions work after it."""
    async with LoopbackDiscord() as server, running_bot(server):
        server.gateway.invalidate()
        await server.until(lambda: server.gateway.identifies == 2, 15, "a second IDENTIFY")
        assert (await server.user("maker").command("echo", {"text": "hi"})).text == "hi for maker"


async def test_calls_wait_when_rate_limits_are_on():
    """The sixth message in five seconds waits for its bucket; nothing is lost."""
    async with LoopbackDiscord(settings=Settings(rate_limits=True)) as server, running_bot(server) as bot:
        where = bot.get_partial_messageable(server.channel("general").id, guild_id=server.guild.id)
        began = time.monotonic()
        await asyncio.gather(*(where.send(str(n)) for n in range(6)))
        assert time.monotonic() - began > 3
        assert sorted(m.content for m in server.messages("general")) == list("012345")


async def test_429_is_retried_when_it_comes_from_discord():
    """An injected 429 with Via is waited out; one without is an error at once."""
    async with LoopbackDiscord() as server, running_bot(server) as bot:
        where = bot.get_partial_messageable(server.channel("general").id, guild_id=server.guild.id)
        server.fault("POST /channels/*/messages", status=429, retry_after_s=0.05)
        await where.send("patient")
        server.fault("POST /channels/*/messages", status=429, via=False)
        with pytest.raises(discord.HTTPException):
            await where.send("banned")
        assert [m.content for m in server.messages("general")] == ["patient"]


async def test_post_is_sent_again_when_the_connection_breaks():
    """A cut connection before the commit is retried by the client."""
    async with LoopbackDiscord() as server, running_bot(server) as bot:
        where = bot.get_partial_messageable(server.channel("general").id, guild_id=server.guild.id)
        server.fault("POST /channels/*/messages", status=0)
        with contextlib.suppress(aiohttp.ClientError):
            await where.send("cut", nonce="c1")
        await where.send("cut", nonce="c1")
        assert [m.content for m in server.messages("general")] == ["cut"]


async def test_edits_of_old_messages_are_slowed_down():
    """The fourth edit of a message older than an hour is answered 30046 and waited out."""
    async with LoopbackDiscord() as server, running_bot(server) as bot:
        where = bot.get_partial_messageable(server.channel("general").id, guild_id=server.guild.id)
        message = await where.send("0")
        server.clock.advance(minutes=61)
        began = time.monotonic()
        for n in range(4):
            await message.edit(content=str(n + 1))
        assert time.monotonic() - began > 3
        assert [c.code for c in server.calls if c.status == 429] == [30046]


async def test_dm_and_thread_take_messages():
    """A DM is opened and used; a thread is made from a message and written to, until it is locked."""
    async with LoopbackDiscord() as server, running_bot(server) as bot:
        maker = server.user("maker")
        dm = await bot.create_dm(discord.Object(maker.account.id))
        await dm.send("hello")
        assert [m.content for m in maker.sees("@me")] == ["hello"]
        where = bot.get_partial_messageable(server.channel("general").id, guild_id=server.guild.id)
        thread = await (await where.send("topic")).create_thread(name="details")
        await thread.send("inside")
        assert [m.content for m in server.messages("details")] == ["inside"]
        server.channel("details").locked = True
        with pytest.raises(discord.HTTPException) as caught:
            await thread.send("late")
        assert caught.value.code == 160005


async def test_command_works_in_a_direct_message():
    """A command typed in the DM is answered there."""
    async with LoopbackDiscord() as server, running_bot(server):
        result = await server.user("maker").command("echo", {"text": "hi"}, channel="@me")
        assert result.text == "hi for maker"


async def test_wrong_token_is_turned_away():
    """Login with another token is 401."""
    async with LoopbackDiscord() as server, discord.Client(intents=discord.Intents.none(), connector=server.connector()) as client:
        with pytest.raises(discord.LoginFailure):
            await client.login("wrong")


async def test_privileged_intents_are_refused_when_not_granted():
    """IDENTIFY with message content closes with 4014."""
    async with LoopbackDiscord() as server, discord.Client(intents=discord.Intents.all(), connector=server.connector()) as client:
        with pytest.raises(discord.PrivilegedIntentsRequired):
            await client.start(server.token)


async def test_two_bots_get_every_interaction_and_one_is_turned_away():
    """During a rolling deploy both processes answer; the second acknowledgement is 40060 and on record."""
    async with LoopbackDiscord() as server, running_bot(server), running_bot(server):
        result = await server.user("maker").command("echo", {"text": "hi"})
        assert result.text == "hi for maker"
        await server.until(lambda: server.violations, 5, "the second acknowledgement")
        assert [v.problem for v in server.violations] == ["acknowledged twice"]


async def test_links_to_files_expire_after_a_day(tmp_path: Path):
    """A CDN URL is signed and dies; attachment URLs must not be kept."""
    async with LoopbackDiscord() as server, aiohttp.ClientSession(connector=server.connector()) as session:
        url = server.user("maker").say("look", [picture(tmp_path / "a.png")]).attachments[0].url
        async with session.get(url) as answer:
            assert (answer.status, answer.content_type) == (200, "image/png")
        async with session.get(url.replace("hm=", "hm=0")) as answer:
            assert answer.status == 404
        server.clock.advance(minutes=24 * 60 + 1)
        async with session.get(url) as answer:
            assert answer.status == 404


async def test_client_stops_what_discord_would_not_send(tmp_path: Path):
    """Missing required options, unknown options and files above the person's limit never reach the bot."""
    async with LoopbackDiscord() as server, running_bot(server):
        maker = server.user("maker")
        with pytest.raises(ClientRefusedError, match="required option text"):
            await maker.command("echo", {})
        with pytest.raises(ScenarioError, match="no option 'volume'"):
            await maker.command("echo", {"text": "a", "volume": 3})
        maker.account.upload_limit = 10
        with pytest.raises(ClientRefusedError, match="10 are allowed"):
            await maker.command("files", {"image": picture(tmp_path / "a.png")})
        assert [i.refused_by_client is not None for i in server.interactions] == [True, True]
