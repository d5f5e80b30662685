"""Clock, ids, permissions, faults, rate limits and OpenAPI validation of the loopback Discord."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.sandbox.bell import Bell
from bot.sandbox.clock import SandboxClock
from bot.sandbox.errors import ApiError, ScenarioError, invalid_form
from bot.sandbox.faults import Fault, RateLimits
from bot.sandbox.openapi import OpenApi, find_description
from bot.sandbox.permissions import Permission
from bot.sandbox.world import Overwrite, World

DESCRIPTION = find_description()
described = pytest.mark.skipif(DESCRIPTION is None, reason="Discord's API description is not at hand")


def test_clock_shares_its_offset_through_the_file(tmp_path: Path):
    """Advancing is seen by whoever reads the file; time never goes back."""
    clock = SandboxClock(tmp_path / "offset")
    before = clock.now()
    clock.advance(minutes=16)
    assert clock.now() - before >= 960
    assert float((tmp_path / "offset").read_text()) == 960
    with pytest.raises(ValueError, match="forward"):
        clock.advance(seconds=-1)


def test_ids_increase_and_tell_their_time():
    """Snowflakes are strictly increasing and carry milliseconds since 2015."""
    clock = SandboxClock()
    world = World(clock)
    ids = [world.ids.next() for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert abs((ids[0] >> 22) / 1000 + 1_420_070_400 - clock.now()) < 5


def test_permissions_follow_roles_then_overwrites():
    """A denied channel hides everything; an administrator sees all; threads follow their parent."""
    world = World(SandboxClock())
    guild = world.add_guild("Studio")
    channel = world.add_channel(guild, "general")
    thread = world.add_thread(channel, "t", world.ids.next())
    assert Permission.SEND_MESSAGES in world.permissions(channel, world.bot)
    channel.overwrites.append(Overwrite(world.bot.id, for_role=False, deny=Permission.SEND_MESSAGES))
    assert Permission.SEND_MESSAGES not in world.permissions(channel, world.bot)
    assert Permission.VIEW_CHANNEL in world.permissions(channel, world.bot)
    channel.overwrites.append(Overwrite(guild.id, for_role=True, deny=Permission.VIEW_CHANNEL))
    assert world.permissions(thread, world.bot) == Permission(0)
    assert Permission.MANAGE_GUILD in world.permissions(channel, world.users[guild.owner_id])
    with pytest.raises(ScenarioError, match="no permission"):
        Permission.named("fly")


def test_faults_match_a_route_a_number_of_times():
    """Wildcards stand for ids; a used-up fault matches nothing."""
    fault = Fault("POST /channels/*/messages", times=1)
    assert fault.matches("POST", "/channels/123/messages")
    assert not fault.matches("PATCH", "/channels/123/messages")
    fault.times = 0
    assert not fault.matches("POST", "/channels/123/messages")


def test_rate_limits_hold_back_the_sixth_call_of_a_bucket():
    """Five calls per five seconds and bucket; other buckets are free."""
    limits = RateLimits()
    assert [limits.wait_s("a")[0] for _ in range(5)] == [0.0] * 5
    assert limits.wait_s("a")[0] > 4
    assert limits.wait_s("b") == (0.0, False, 4)


def test_errors_nest_their_fields_as_discord_does():
    """Dotted paths become nested objects with `_errors`."""
    body = invalid_form([("components.0.label", "no")]).to_json()
    assert body["code"] == 50035
    assert body["errors"]["components"]["0"]["label"]["_errors"][0]["message"] == "no"


def test_world_hides_deleted_channels_and_other_peoples_messages():
    """A deleted channel answers 10003."""
    world = World(SandboxClock())
    channel = world.add_channel(world.add_guild("Studio"), "general")
    channel.deleted = True
    with pytest.raises(ApiError) as caught:
        world.channel(channel.id)
    assert caught.value.code == 10003


async def test_bell_wakes_whoever_waits_and_gives_up_in_time():
    """A ring makes waiters look again; the deadline names what did not happen."""
    bell = Bell()
    seen: list[int] = []
    waiting = asyncio.create_task(bell.until(lambda: len(seen) or None, 5, "something"))
    await asyncio.sleep(0)
    seen.append(1)
    bell.ring()
    assert await waiting == 1
    with pytest.raises(TimeoutError, match="the moon"):
        await bell.until(lambda: None, 0.01, "the moon")


@described
@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("POST", "/channels/1/messages", {"content": "hi", "nonce": "n" * 25}, None),
        ("POST", "/channels/1/messages", {"content": "hi", "nonce": "n" * 26}, "nonce"),
        ("POST", "/channels/1/messages", {"attachments": [{"id": 0, "filename": "a.mp4"}]}, None),
        ("POST", "/channels/1/messages", {"content": 5}, "content"),
        ("POST", "/channels/1/massages", {}, "not in Discord's API description"),
        ("POST", "/interactions/1/abc/callback", {"type": 5, "data": {"flags": 64}}, None),
        (
            "POST",
            "/interactions/1/abc/callback",
            {"type": 4, "data": {"components": [{"type": 17, "accent_color": 1 << 30, "components": [{"type": 10, "content": "x"}]}]}},
            "accent_color",
        ),
        ("DELETE", "/channels/1/messages/2", {"a": 1}, "takes no body"),
    ],
)
def test_openapi_judges_requests_by_discords_own_description(method: str, path: str, body: object, said: str | None):
    """Good requests pass, bad ones are told with the place of the mistake."""
    assert DESCRIPTION is not None
    problems = OpenApi.load(DESCRIPTION).problems(method, path, {}, body)
    assert problems == [] if said is None else said in " ".join(problems)
