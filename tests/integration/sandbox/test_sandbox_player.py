"""The player against a small bot in this process: what counts as met, what as failed, and what a press is meant for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import discord

from bot.sandbox.player import Player
from bot.sandbox.scenario import Scenario
from bot.sandbox.server import LoopbackDiscord
from tests.support.sandbox import card, picture, running_bot


class NoStack:
    """Stands for the processes of a run where there are none."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "none.sqlite3"

    def check(self) -> None:
        """Nothing can die."""


async def outcomes(server: LoopbackDiscord, folder: Path, *steps: dict[str, Any]) -> list[str | None]:
    """Failure of each step, None for a met one."""
    scenario = Scenario.model_validate({"steps": list(steps), "folder": folder})
    player = Player(scenario, server, NoStack(folder), folder / "made")  # type: ignore[arg-type]
    await player.play(lambda _title: None, lambda _played: None)
    assert len(player.failures) == sum(p.failure is not None for p in player.played)
    return [p.failure for p in player.played]


async def test_player_compares_refusals_with_what_is_expected(tmp_path: Path):
    """Without `expect` a step must be accepted; a refusal that was expected is met, an acceptance is not."""
    async with LoopbackDiscord() as server, running_bot(server):
        echo = {"as": "maker", "command": "echo", "options": {"text": "hi"}}
        refusal = {"as": "maker", "command": "hue", "options": {"hues": "no"}}
        got = await outcomes(
            server, tmp_path, echo, {**echo, "expect": "refused"}, refusal, {**refusal, "expect": "refused"}, {**echo, "says": "bye"}
        )
        assert [failure is None for failure in got] == [True, False, False, True, False]
        assert "does not say 'bye'" in str(got[4])


async def test_player_counts_what_the_client_stops_as_refused(tmp_path: Path):
    """A missing required option is a refusal when one is expected."""
    async with LoopbackDiscord() as server, running_bot(server):
        step = {"as": "maker", "command": "echo", "options": {}}
        assert (await outcomes(server, tmp_path, {**step, "expect": "refused"}, step))[0] is None


async def test_player_checks_what_autocomplete_offers(tmp_path: Path):
    """Every entry of `offers` must be among the choices."""
    async with LoopbackDiscord() as server, running_bot(server):
        step = {"as": "maker", "autocomplete": "hue", "option": "hues", "text": "red,gr"}
        got = await outcomes(server, tmp_path, {**step, "offers": ["red,green"]}, {**step, "offers": ["red,pink"]})
        assert got[0] is None
        assert "red,pink not offered" in str(got[1])


async def test_player_presses_the_newest_card_and_answer(tmp_path: Path):
    """`last_card` is the newest public message with that button, `last_reply` the person's own last answer."""
    picture(tmp_path / "a.png")
    async with LoopbackDiscord() as server, running_bot(server) as bot:
        where = bot.get_partial_messageable(server.channel("general").id, guild_id=server.guild.id)
        await where.send(view=card("old", ident=1))
        await where.send(view=card("new", ident=2))
        got = await outcomes(
            server,
            tmp_path,
            {"as": "maker", "press": "hello", "on": "last_card", "says": "pressed hello 2"},
            {"as": "maker", "press": "hello", "on": "last_reply"},
            {"as": "maker", "press": "fly", "on": "last_card"},
            {"as": "maker", "press": "again", "on": "last_video"},
        )
        assert got[0] is None
        assert "no button 'hello'" in str(got[1])
        assert "no button 'fly'; it has: Hello, Add, Turn" in str(got[2])
        assert "no last video" in str(got[3])


async def test_player_takes_each_message_once_when_waiting(tmp_path: Path):
    """Two waits take two messages; one that stood there before the last action is not taken."""
    async with LoopbackDiscord() as server, running_bot(server) as bot:
        where = bot.get_partial_messageable(server.channel("general").id, guild_id=server.guild.id)
        await where.send("too old")
        public = {"as": "maker", "command": "echo", "options": {"text": "one", "private": False}}
        wait = {"wait_for": "message", "within_s": 0.2}
        got = await outcomes(server, tmp_path, public, {**public, "options": {"text": "two", "private": False}}, wait, wait, wait)
        assert [failure is None for failure in got] == [True, True, True, True, False]


async def test_player_injects_faults_and_changes_the_world(tmp_path: Path):
    """Faults, grants, deleted channels, the clock and a cut connection are steps like others."""
    async with LoopbackDiscord() as server, running_bot(server) as bot:
        before = server.clock.now()
        got = await outcomes(
            server,
            tmp_path,
            {"fault": {"route": "POST /channels/{id}/messages", "status": 413}},
            {"grant": {"to": "maker", "sku": "premium"}},
            {"advance_clock": {"minutes": 5}},
            {"delete_channel": "general"},
            {"delete_channel": "general"},
        )
        assert [failure is None for failure in got] == [True, True, True, True, False]
        assert server.clock.now() - before >= 300
        assert await bot.entitled.get() == server.sku("premium").id
        assert isinstance(bot, discord.Client)
