"""`python -m bot doctor`: whether the bot can run here, one line a check, with what to do."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import discord

from bot.client import build_connector
from bot.config import BotSettings
from bot.queue import QueueUnavailableError, open_queue
from bot.storage.database import load_migrations
from engine.contracts.checks import Finding, failed, ok, redis_findings, report, warning
from engine.store_check import disk_findings, store_findings

DISCORD_S = 20.0


async def examine(settings: BotSettings) -> int:
    """Print findings; the exit code."""
    return await report(
        [
            ("discord", lambda: discord_findings(settings)),
            ("redis", lambda: queue_findings(settings)),
            ("store", lambda: store_findings(settings.object_store_url)),
            ("database", lambda: database_findings(settings.database_path)),
            ("disk", lambda: disk_findings(settings.data_dir)),
        ]
    )


async def discord_findings(settings: BotSettings) -> list[Finding]:
    """Does Discord know the token?"""
    if settings.discord_token is None or not settings.discord_token.get_secret_value():
        return [failed("discord", "DISCORD_TOKEN is not set; copy it from https://discord.com/developers/applications.")]
    client = discord.Client(intents=discord.Intents.none(), connector=build_connector(settings))
    try:
        async with asyncio.timeout(DISCORD_S):
            await client.login(settings.discord_token.get_secret_value())
        assert client.user is not None
        return [ok("discord", f"logged in as {client.user}, application {client.application_id}")]
    except discord.LoginFailure:
        return [failed("discord", "the token is refused; copy it again from the developer portal.")]
    except (discord.HTTPException, OSError) as error:
        return [failed("discord", f"can't be reached: {error}.")]
    finally:
        await client.close()


async def queue_findings(settings: BotSettings) -> list[Finding]:
    """Does Redis answer, keep what it has, and know any workers?"""
    if settings.redis_url is None:
        return [warning("redis", "REDIS_URL is not set; only --all-in-one starts one of its own")]
    async with open_queue(settings.redis_url.get_secret_value(), settings.keys) as queue:
        try:
            began = time.monotonic()
            info, now = await queue.server()
            findings = redis_findings(info, (time.monotonic() - began) * 1000, now - time.time())
            workers = await queue.workers()
        except QueueUnavailableError as error:
            return [failed("redis", f"{error}. Start it, or correct REDIS_URL (user, password, ACL, TLS).")]
    if not workers:
        return [*findings, warning("workers", "none is announced; start python -m worker with the same REDIS_URL and key prefix")]
    told = ", ".join(f"{worker.worker_id} ({worker.base}, {'+'.join(worker.lanes)}, {worker.state})" for worker in workers)
    return [*findings, ok("workers", told)]


async def database_findings(path: Path) -> list[Finding]:
    """Is the file whole, and of this version? A running bot is not disturbed."""
    return [await asyncio.to_thread(_database, path)]


def _database(path: Path) -> Finding:
    if not path.is_file():
        return ok("database", f"{path} will be made at the first start")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
        try:
            (verdict,) = connection.execute("PRAGMA quick_check").fetchone()
            versions = {row[0] for row in connection.execute("SELECT version FROM migrations")}
        except sqlite3.DatabaseError as error:
            verdict, versions = str(error), set()
    if verdict != "ok":
        return failed("database", f"{path} is damaged ({verdict}); stop the bot and run python -m bot restore BACKUP.")
    known = {migration.version for migration in load_migrations()}
    if versions - known:
        return failed("database", f"{path} was written by a newer bot; install that version.")
    return ok("database", f"{path}, {path.stat().st_size / 2**20:.1f} MiB, {len(known - versions)} migrations to apply")
