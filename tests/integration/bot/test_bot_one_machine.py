"""`python -m bot --all-in-one` as an operator starts it, against a loopback Discord."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path

import aiohttp
import pytest

from bot.one_machine import NoEmbeddedServerError, free_port, valkey_program
from bot.sandbox.server import LoopbackDiscord
from bot.supervisor import inherited_env
from tests.support.valkey import Valkey

ROOT = Path(__file__).parents[3]
READY_S = 150.0
STOP_S = 60.0


def _environment(discord: LoopbackDiscord, folder: Path, web_port: int, token: str) -> dict[str, str]:
    ours = {
        "DISCORD_TOKEN": token,
        "CALLSHEET_DATA_DIR": str(folder / "data"),
        "CALLSHEET_DISCORD_ENDPOINT": discord.endpoint,
        "CALLSHEET_DISCORD_CA_FILE": str(discord.ca_file),
        "CALLSHEET_WEB_PORT": str(web_port),
        "CALLSHEET_DEVICE": "cpu",
    }
    return inherited_env(ours, without=("REDIS_URL", "CALLSHEET_REDIS_URL"))


@asynccontextmanager
async def _started(environment: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "--all-in-one"), cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _ready(url: str) -> None:
    async with aiohttp.ClientSession() as http, asyncio.timeout(READY_S):
        while True:
            try:
                async with http.get(url) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)


async def _group_of(pid: int) -> list[str]:
    """Command lines of the living processes whose parent is `pid`."""
    listing = await asyncio.create_subprocess_exec("ps", "-o", "args=", "--ppid", str(pid), stdout=asyncio.subprocess.PIPE)
    output, _ = await listing.communicate()
    return output.decode().splitlines()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_all_three_processes_start_and_stop_when_an_operator_asks(tmp_path: Path, number: signal.Signals) -> None:
    """Valkey, worker and bot come up and are ready; one signal ends all of them with exit code 0."""
    port = free_port()
    async with LoopbackDiscord() as discord, _started(_environment(discord, tmp_path, port, discord.token)) as process:
        assert process.stderr is not None
        reading = asyncio.create_task(process.stderr.read())
        await _ready(f"http://127.0.0.1:{port}/readyz")
        children = await _group_of(process.pid)
        assert len(children) == 3
        process.send_signal(number)
        async with asyncio.timeout(STOP_S):
            code = await process.wait()
        assert code == 0, (await reading).decode()
        assert "Traceback" not in (await reading).decode()
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientError):
            await http.get(f"http://127.0.0.1:{port}/healthz")


async def test_one_machine_mode_ends_with_a_sentence_when_discord_refuses_the_token(tmp_path: Path) -> None:
    """Nothing is tried again and again with a wrong token."""
    async with LoopbackDiscord() as discord, _started(_environment(discord, tmp_path, free_port(), "wrong")) as process:
        async with asyncio.timeout(READY_S):
            _, errors = await process.communicate()
    assert process.returncode == os.EX_CONFIG
    assert "Discord refuses the token in DISCORD_TOKEN" in errors.decode()


async def test_bot_ends_with_a_sentence_when_discord_is_out_of_reach(tmp_path: Path, valkey: Valkey) -> None:
    """Exit code 69 and no traceback: whoever supervises it tries again."""
    nobody = {"REDIS_URL": valkey.url, "CALLSHEET_DISCORD_ENDPOINT": f"127.0.0.1:{free_port()}"}
    async with LoopbackDiscord() as discord:
        environment = _environment(discord, tmp_path, free_port(), discord.token) | nobody
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot"), cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(READY_S):
            _, errors = await process.communicate()
    assert process.returncode == os.EX_UNAVAILABLE
    assert "Discord can't be reached" in errors.decode()
    assert "Traceback" not in errors.decode()


def test_embedded_server_is_found_by_the_files_of_its_package() -> None:
    """It is a program, and says what it is."""
    told = subprocess.run([valkey_program(), "--version"], capture_output=True, text=True, check=True)
    assert "Valkey server v=9" in told.stdout


def test_machine_without_an_embedded_server_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the package is missing, or has no program for this machine."""

    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    for answer in (missing, lambda _: None):
        monkeypatch.setattr(metadata, "files", answer)
        with pytest.raises(NoEmbeddedServerError, match="REDIS_URL"):
            valkey_program()
