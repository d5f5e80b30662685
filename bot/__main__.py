"""`python -m bot`: settings, database, store, queue and services, then the Discord client beside its background tasks."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import math
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import discord

from bot import doctor
from bot.client import CallsheetClient
from bot.clock import build_clock
from bot.config import BotSettings, SettingsError, load_settings
from bot.dispatcher import Dispatcher
from bot.erasures import Erasures
from bot.event_consumer import EventConsumer
from bot.metrics import BotMetrics
from bot.notices import NoticeSender
from bot.one_machine import run_all_in_one
from bot.outbox import Outbox
from bot.queue import JobQueue, open_queue
from bot.services.app import Services
from bot.services.build import build_services
from bot.services.garbage import collected
from bot.services.links import LinkSigner, load_secret
from bot.status_cards import StatusCards
from bot.storage.backup import back_up, restore
from bot.storage.database import Database, DatabaseError, open_database
from bot.web import Metrics, WebServer, bind
from engine.contracts.logs import log_to_stderr
from engine.errors import EngineError
from engine.store import ObjectStore

logger = logging.getLogger(__name__)

REDIS_PATIENCE_S = 5.0
HOUSEKEEPING_S = 30.0
PURGE_INTERVAL_S = 600.0

NO_TOKEN = "DISCORD_TOKEN is not set: create a bot at https://discord.com/developers/applications and put its token there."  # noqa: S105
NO_REDIS = "REDIS_URL is not set: give the address of a Redis or Valkey server, or start with --all-in-one."
DEAD_REDIS = "Redis does not answer at the address in REDIS_URL: start it, or correct the address."
BAD_TOKEN = "Discord refuses the token in DISCORD_TOKEN: copy it again from the developer portal."  # noqa: S105


class StartError(Exception):
    """The bot can't start; the message is one sentence for the operator."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code: 0 after a signal, 78 for settings to correct, 69 for something that is not there."""
    parser = argparse.ArgumentParser(prog="python -m bot", description="The Callsheet bot.")
    parser.add_argument("--all-in-one", action="store_true", help="also run the worker, and a Valkey server unless REDIS_URL is set")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("doctor", help="check Discord, Redis, store, database and disk, and leave")
    backup = commands.add_parser("backup", help="copy the database to a new file; safe while the bot runs")
    backup.add_argument("file", type=Path)
    restoring = commands.add_parser("restore", help="put a backup in the place of the database; the bot must be stopped")
    restoring.add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
    except SettingsError as error:
        sys.stderr.write(f"Settings to correct:\n{error}\n")
        return os.EX_CONFIG
    log_to_stderr("ERROR" if options.command else settings.log_level, settings.log_format)
    try:
        if options.command == "doctor":
            return asyncio.run(doctor.examine(settings))
        if options.command is not None:
            return _keep(settings, options.command, options.file)
        _require_token(settings)
        return asyncio.run(run_all_in_one(settings) if options.all_in_one else run_bot(settings))
    except StartError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except DatabaseError as error:
        sys.stderr.write(f"{error}\n")
        return os.EX_UNAVAILABLE


def _keep(settings: BotSettings, command: str, file: Path) -> int:
    """Make or bring back a backup; 0 when done.

    Raises:
        DatabaseError: see `bot.storage.backup`.
    """
    try:
        if command == "backup":
            size = back_up(settings.database_path, file)
            sys.stdout.write(f"{file}: {size / 2**20:.1f} MiB, checked.\n")
        else:
            kept = restore(file, settings.database_path)
            sys.stdout.write(f"Restored; {f'what was there is {kept}' if kept else 'there was no database before'}.\n")
    except OSError as error:
        raise DatabaseError(f"{file}: {error.strerror}.") from error
    return 0


async def run_bot(settings: BotSettings) -> int:
    """Serve until SIGTERM or SIGINT.

    Raises:
        StartError: a token, Redis, the store or the port is missing or refused.
        DatabaseError: see `open_database`.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    token = _require_token(settings)
    if settings.redis_url is None:
        raise StartError(NO_REDIS, os.EX_CONFIG)
    await asyncio.to_thread(_empty, settings)
    async with (
        open_database(settings.database_path) as database,
        open_queue(settings.redis_url.get_secret_value(), settings.keys) as queue,
    ):
        await _require_redis(queue)
        async with _opened_services(settings, database, queue) as (services, listener), CallsheetClient(settings, services) as client:
            if await _logged_in(client, token, stop):
                await _serve(settings, database, queue, services, listener, client, stop)
    return 0


async def _logged_in(client: CallsheetClient, token: str, stop: asyncio.Event) -> bool:
    """Log in and sync commands; False when a signal came first."""
    login, stopping = asyncio.create_task(client.login(token)), asyncio.create_task(stop.wait())
    await asyncio.wait({login, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not login.done():
        login.cancel()
        await asyncio.wait({login})
        return False
    try:
        await login
    except discord.LoginFailure:
        raise StartError(BAD_TOKEN, os.EX_CONFIG) from None
    except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
        raise StartError(f"Discord can't be reached: {error}.", os.EX_UNAVAILABLE) from error
    return True


async def _serve(
    settings: BotSettings,
    database: Database,
    queue: JobQueue,
    services: Services,
    listener: socket.socket,
    client: CallsheetClient,
    stop: asyncio.Event,
) -> None:
    """Run every task until `stop`, or until one of them fails: a bot without one of its parts must not look alive."""
    dispatcher = Dispatcher(
        database=database,
        queue=queue,
        outcomes=services.jobs.outcomes,
        posts=services.posts,
        line=services.jobs.line,
        clock=services.clock,
        dispatch_interval_s=settings.dispatch_interval_s,
        reconcile_interval_s=settings.reconcile_interval_s,
    )
    metrics = BotMetrics(database, queue, services.clock)
    client.acks.observe = metrics.acked
    consumer = EventConsumer(database, queue, services.jobs.outcomes, services.posts, metrics.event)

    async def health() -> Mapping[str, bool]:
        return {"discord": client.is_ready(), "redis": queue.alive, "workers": bool(queue.seen_workers)}

    async def connected() -> None:
        await client.connect()
        stop.set()  # discord.py closes for good only when told to

    web = WebServer(
        listener,
        services.files.store,
        services.files.signer,
        settings.scratch_dir / "downloads",
        health,
        services.takedowns.allows,
        services.shares,
        Metrics(metrics.text, settings.metrics_token.get_secret_value() if settings.metrics_token else None),
    )
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(coroutine, name=name)
            for name, coroutine in {
                "redis health": queue.watch_health(),
                "dispatch": dispatcher.run_dispatch(),
                "reconcile": dispatcher.run_reconcile(),
                "events": consumer.run(),
                "garbage": _collect_garbage(services),
                "housekeeping": _keep_house(services),
                "notices": NoticeSender(client, services.notices).run(),
                "web": web.run(),
                "outbox": Outbox(client, services, settings).run(),
                "erasures": Erasures(client, services).run(),
                "status cards": StatusCards(client, services, settings).run(),
                "discord": connected(),
            }.items()
        ]
        await stop.wait()
        logger.info("stopping")
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def _opened_services(settings: BotSettings, database: Database, queue: JobQueue) -> AsyncIterator[tuple[Services, socket.socket]]:
    clock = build_clock(settings.clock_offset_file)
    try:
        store = ObjectStore.open(settings.object_store_url)
    except EngineError as error:
        raise StartError(str(error), os.EX_CONFIG) from error
    try:
        listener = bind(settings.web_host, settings.web_port)
    except OSError as error:
        raise StartError(f"The web server can't use {settings.web_host}:{settings.web_port}: {error}.", os.EX_UNAVAILABLE) from error
    with contextlib.closing(listener):
        public_url = settings.public_url or f"http://{settings.web_host}:{listener.getsockname()[1]}"
        secret = settings.link_secret.get_secret_value().encode() if settings.link_secret else load_secret(settings.data_dir / "link.key")
        signer = LinkSigner(secret, public_url, settings.link_expires_s, clock)
        yield build_services(settings, database, queue, store, signer, clock), listener


async def _keep_house(services: Services) -> None:
    """Drop what nobody started, freeze what no plan covers, delete what is gone; looked at often, because most of it is cheap."""
    last_purge = -math.inf
    while True:
        try:
            if dropped := await services.datasets.expire_drafts():
                logger.info("%d data sets that nobody started were dropped", dropped)
            expired = await services.freezing.sweep()
            if expired or time.monotonic() - last_purge > PURGE_INTERVAL_S:
                last_purge = time.monotonic()
                await services.library.purge()
        except Exception:
            logger.exception("housekeeping failed, tried again in %.0f s", HOUSEKEEPING_S)
        await asyncio.sleep(HOUSEKEEPING_S)


async def _collect_garbage(services: Services) -> None:
    while True:
        await asyncio.sleep(services.settings.garbage_interval_s)
        await collected(services.garbage)


async def _require_redis(queue: JobQueue) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REDIS_PATIENCE_S):
            while not await queue.ping():  # noqa: ASYNC110 - there is no event for a server that is not up yet
                await asyncio.sleep(0.1)
    if not queue.alive:
        raise StartError(DEAD_REDIS, os.EX_UNAVAILABLE)


def _require_token(settings: BotSettings) -> str:
    if settings.discord_token is None or not settings.discord_token.get_secret_value():
        raise StartError(NO_TOKEN, os.EX_CONFIG)
    return settings.discord_token.get_secret_value()


def _empty(settings: BotSettings) -> None:
    shutil.rmtree(settings.scratch_dir, ignore_errors=True)
    settings.scratch_dir.mkdir(parents=True)


if __name__ == "__main__":
    sys.exit(main())
