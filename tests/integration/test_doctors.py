"""`doctor` of bot and worker as operators run them."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from bot.sandbox.server import LoopbackDiscord
from tests.support.object_server import free_port
from tests.support.valkey import Valkey

ROOT = Path(__file__).parents[2]


async def _doctor(package: str, **settings: str) -> tuple[int, dict[str, str]]:
    """Exit code, and the lines by subject (the last one of each)."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("CALLSHEET_", "REDIS_URL", "DISCORD"))}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", package, "doctor"),
        cwd=ROOT,
        env={**ours, "OMP_NUM_THREADS": "1", **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert not errors.strip() or process.returncode, errors.decode()
    lines = [line.split(maxsplit=2) for line in output.decode().splitlines()]
    return process.returncode or 0, {subject: f"{verdict} {detail}" for verdict, subject, detail in lines}


async def test_worker_doctor_is_content_when_everything_is_there(valkey: Valkey, tmp_path: Path) -> None:
    """Redis, store, disk, device and base are each named."""
    settings = {"CALLSHEET_STORE_URL": (tmp_path / "store").as_uri(), "CALLSHEET_SCRATCH_DIR": str(tmp_path / "scratch")}
    code, said = await _doctor("worker", REDIS_URL=valkey.url, CALLSHEET_DEVICE="cpu", **settings)
    assert code == 0, said
    assert said["redis"].startswith("warning no append-only file")
    assert {subject: line.split()[0] for subject, line in said.items() if subject != "redis"} == {
        "store": "ok",
        "disk": "ok",
        "gpu": "ok",
        "base": "ok",
    }
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


async def test_worker_doctor_names_every_lack_when_nothing_is_there(tmp_path: Path) -> None:
    """All of them at once, each with what to do."""
    settings = {"CALLSHEET_STORE_URL": "file:///proc/nowhere", "CALLSHEET_SCRATCH_DIR": str(tmp_path)}
    code, said = await _doctor(
        "worker", REDIS_URL=f"redis://127.0.0.1:{free_port()}", CALLSHEET_DEVICE="cuda:7", CALLSHEET_BASE="ltx-2.3", **settings
    )
    assert code == 1
    assert {subject for subject, line in said.items() if line.startswith("FAILED")} == {"redis", "store", "gpu", "base"}
    assert "CALLSHEET_DEVICE" in said["gpu"]
    assert "CALLSHEET_BASE" in said["base"]


async def test_bot_doctor_is_content_when_everything_is_there(valkey: Valkey, tmp_path: Path) -> None:
    """Discord knows the token; no worker yet is worth a warning only."""
    async with LoopbackDiscord() as discord:
        settings = {"CALLSHEET_DISCORD_ENDPOINT": discord.endpoint, "CALLSHEET_DISCORD_CA_FILE": str(discord.ca_file)}
        code, said = await _doctor(
            "bot", DISCORD_TOKEN=discord.token, REDIS_URL=valkey.url, CALLSHEET_DATA_DIR=str(tmp_path / "data"), **settings
        )
    assert code == 0, said
    assert said["discord"].startswith("ok logged in as")
    assert said["workers"].startswith("warning none is announced")
    assert said["database"].startswith("ok")


async def test_bot_doctor_names_every_lack_when_nothing_is_there(tmp_path: Path) -> None:
    """A missing token, a dead Redis and a damaged database in one answer."""
    (tmp_path / "callsheet.sqlite3").write_bytes(b"not a database at all" * 100)
    code, said = await _doctor("bot", REDIS_URL=f"redis://127.0.0.1:{free_port()}", CALLSHEET_DATA_DIR=str(tmp_path))
    assert code == 1
    assert {subject for subject, line in said.items() if line.startswith("FAILED")} == {"discord", "redis", "database"}
