"""Leaving Discord: polite, but not for longer than a service manager waits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.discord_rig import rig


async def test_client_closes_in_time_when_discord_does_not_say_goodbye(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that never confirms the end of the session holds a restart up for `GOODBYE_S`, and every connection is closed."""
    monkeypatch.setattr("bot.client.GOODBYE_S", 0.1)
    async with rig(tmp_path / "data") as studio:
        say_goodbye, calls = studio.client.ws.close, []

        async def unanswered(code: int) -> None:
            calls.append(code)
            if len(calls) == 1:
                await asyncio.Event().wait()
            await say_goodbye(code)

        monkeypatch.setattr(studio.client.ws, "close", unanswered)
        async with asyncio.timeout(60):
            await studio.client.close()
        assert not studio.client.ws.open
